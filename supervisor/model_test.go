package supervisor

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestModel plays random scenarios with the real supervisor and holds what was seen against the
// reference model and against every invariant.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := scenarios().Draw(rt, "scenario")
		if err := violation(play(t, sc, step)); err != "" {
			rt.Fatal(err)
		}
	})
}

// violation returns what is wrong with a trace, or nothing.
func violation(tr *trace) string {
	if len(tr.faults) > 0 {
		return strings.Join(tr.faults, "\n")
	}
	if err := broken(tr); err != "" {
		return err + "\n  " + strings.Join(tr.log(), "\n  ")
	}
	if want := predict(tr.sc); !want.ambiguous {
		if d := diff(want.all(), tr.log()); d != "" {
			return "not what the model says: " + d
		}
	}
	return ""
}

// TestSameScenarioSameLog plays scenarios twice.
func TestSameScenarioSameLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sc := scenarios().Draw(rt, "scenario")
		if d := diff(play(t, sc, step).log(), play(t, sc, step).log()); d != "" {
			rt.Fatalf("differs the second time: %s", d)
		}
	})
}

func diff(want, got []string) string {
	for i := range max(len(want), len(got)) {
		at := func(s []string) string {
			if i < len(s) {
				return s[i]
			}
			return "(nothing)"
		}
		if at(want) != at(got) {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s\nbefore:\n  %s", i, at(want), at(got),
				strings.Join(got[max(0, min(i, len(got))-25):min(i, len(got))], "\n  "))
		}
	}
	return ""
}
