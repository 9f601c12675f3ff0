package logtest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bustest/logtest"
)

// TestReference: without a fault every case passes, so what fails a mutant is its fault.
func TestReference(t *testing.T) {
	t.Parallel()
	logtest.Test(t, (&mutant{}).store, mutantFeatures)
}

// TestMutants: each fault is found by the case that is meant for it, which tells the rule.
func TestMutants(t *testing.T) {
	t.Parallel()
	cases := make(map[string]logtest.Case)
	for _, k := range logtest.Cases() {
		cases[k.Name] = k
	}
	for _, m := range mutants() {
		k, ok := cases[m.meant]
		if !ok {
			t.Errorf("%s: there is no case %q", m.name, m.meant)
			continue
		}
		t.Run(strings.ReplaceAll(m.name, " ", "-")+"/"+m.meant, func(t *testing.T) {
			features := mutantFeatures
			if m.features != nil {
				m.features(&features)
			}
			synctest.Test(t, func(t *testing.T) {
				r := record(t, k, m.store, features)
				switch text := r.text(); {
				case !r.Failed():
					t.Errorf("%s passes", k.Name)
				case !strings.Contains(text, k.Rule) || !strings.Contains(text, "want: ") || !strings.Contains(text, "got:  "):
					t.Errorf("%s fails without telling the rule, what it wants and what it got:\n%s", k.Name, text)
				default:
					t.Logf("%s: %s", k.Name, text)
				}
			})
		})
	}
}

// TestEveryCaseBites: there is a mutant for each case.
func TestEveryCaseBites(t *testing.T) {
	meant := make(map[string]bool)
	for _, m := range mutants() {
		meant[m.meant] = true
	}
	for _, k := range logtest.Cases() {
		if !meant[k.Name] {
			t.Errorf("no mutant shows that %s can fail", k.Name)
		}
	}
}

// TestCases: names and rules are what a reader can use.
func TestCases(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range logtest.Cases() {
		if k.Name == "" || seen[k.Name] || strings.ContainsAny(k.Name, " /") {
			t.Errorf("%q is no name of its own for a subtest", k.Name)
		}
		seen[k.Name] = true
		if !strings.HasSuffix(strings.TrimSuffix(k.Rule, `"`), ".") && !strings.HasSuffix(k.Rule, `".`) || strings.Contains(k.Rule, "\n") {
			t.Errorf("%s: %q is no sentence", k.Name, k.Rule)
		}
	}
}

// mutants returns every fault.
func mutants() []*mutant {
	var all []*mutant
	for _, list := range [][]mutant{topicMutants, appendMutants, dueMutants, consumeMutants, fetchMutants, commitMutants, restMutants} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}
