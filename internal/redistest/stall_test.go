package redistest

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestOwnTime compares OwnTime with a count of milliseconds, and checks what tests rely on: without a stall a silence is as
// long as it was, and no stall makes it longer.
func TestOwnTime(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.IntRange(0, 100)
		from, to := moment.Draw(t, "from"), moment.Draw(t, "to")
		var stalls []Stall
		stood := make(map[int]bool)
		for range rapid.IntRange(0, 6).Draw(t, "stalls") {
			a, b := moment.Draw(t, "a"), moment.Draw(t, "b")
			stalls = append(stalls, Stall{at(a), at(b)})
			for ms := a; ms < b; ms++ {
				stood[ms] = true
			}
		}
		want := 0
		for ms := from; ms < to; ms++ {
			if !stood[ms] {
				want++
			}
		}
		got := OwnTime(at(from), at(to), stalls)
		if got != time.Duration(want)*time.Millisecond {
			t.Fatalf("from %d to %d with %v: %v, want %d ms", from, to, stalls, got, want)
		}
		if whole := OwnTime(at(from), at(to), nil); whole != max(0, at(to).Sub(at(from))) || got > whole {
			t.Fatalf("from %d to %d: %v without a stall, %v with %v", from, to, whole, got, stalls)
		}
		between := moment.Draw(t, "between")
		if from <= between && between <= to {
			if parts := OwnTime(at(from), at(between), stalls) + OwnTime(at(between), at(to), stalls); parts != got {
				t.Fatalf("in two parts %v, in one %v", parts, got)
			}
		}
	})
}

// TestStallOf: a step within the slack is none, and of a longer one the slack still counts as the test's own time.
func TestStallOf(t *testing.T) {
	t.Parallel()
	due := time.Unix(100, 0)
	rapid.Check(t, func(t *rapid.T) {
		took := time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(t, "took"))
		s, ok := stallOf(due, due.Add(took), controlSlack)
		if ok != (took > controlSlack) {
			t.Fatalf("%v is a stall: %v", took, ok)
		}
		var stalls []Stall
		if ok {
			stalls = []Stall{s}
		}
		if own := OwnTime(due, due.Add(took), stalls); own != max(0, min(took, controlSlack)) {
			t.Fatalf("of %v count %v", took, own)
		}
	})
}
