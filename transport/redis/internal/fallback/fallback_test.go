package fallback

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var cfg = Config{Trial: time.Second, MaxTrial: 8 * time.Second, Calm: time.Minute, Doubt: time.Second}

var start = time.Unix(1000, 0)

func at(t *testing.T, s *Shard, want string) {
	t.Helper()
	if got := s.At(); got != want {
		t.Fatalf("at %s, want %s", got, want)
	}
}

// TestLeavesAndReturns: a primary that fails is left at once, and gone back to when it has been
// fine for a while.
func TestLeavesAndReturns(t *testing.T) {
	s := New(cfg, "p", []string{"r1", "r2"})
	at(t, s, "p")
	s.Failed(start, "p")
	at(t, s, "r1")
	s.Failed(start, "r1")
	at(t, s, "r2")
	s.Accepts(start, "r1")
	at(t, s, "r2") // one replica is as good as another
	s.Accepts(start, "p")
	at(t, s, "r2")
	s.Accepts(start.Add(999*time.Millisecond), "p")
	at(t, s, "r2")
	s.Failed(start.Add(999*time.Millisecond), "p") // the trial begins anew
	s.Accepts(start.Add(1500*time.Millisecond), "p")
	s.Accepts(start.Add(2499*time.Millisecond), "p")
	at(t, s, "r2")
	s.Accepts(start.Add(2500*time.Millisecond), "p")
	at(t, s, "p")
}

// TestFlapping: who fails again and again is trusted ever later.
func TestFlapping(t *testing.T) {
	s := New(cfg, "p", []string{"r"})
	now := start
	for _, want := range []time.Duration{1, 2, 4, 8, 8} {
		s.Failed(now, "p")
		at(t, s, "r")
		began := now
		for s.At() != "p" {
			s.Accepts(now, "p")
			now = now.Add(100 * time.Millisecond)
		}
		if took := now.Sub(began) - 100*time.Millisecond; took != want*time.Second {
			t.Errorf("back after %v, want %v s", took, want)
		}
	}
	now = now.Add(2 * time.Minute)
	s.Failed(now, "p")
	s.Accepts(now, "p")
	s.Accepts(now.Add(time.Second), "p")
	at(t, s, "p")
}

// TestCutOff: a primary that says that it is cut off is left, unless its replicas say so too.
func TestCutOff(t *testing.T) {
	s := New(cfg, "p", []string{"r"})
	s.ReportFailing(start, "p", true)
	s.ReportFailing(start.Add(500*time.Millisecond), "r", true)
	s.ReportFailing(start.Add(999*time.Millisecond), "p", true)
	s.ReportFailing(start.Add(1500*time.Millisecond), "r", true)
	s.ReportFailing(start.Add(1500*time.Millisecond), "p", true)
	at(t, s, "p")
	now := start.Add(2 * time.Second)
	s.ReportFailing(now, "r", false)
	at(t, s, "r")
	s.ReportFailing(now, "p", false)
	at(t, s, "r")
	s.Accepts(now, "p")
	s.Accepts(now.Add(time.Second), "p")
	at(t, s, "p")
}

// TestSuccessor: a new primary is gone to at once, and the one where events are published already
// stays.
func TestSuccessor(t *testing.T) {
	s := New(cfg, "p", []string{"r1", "r2"})
	s.Failed(start, "p")
	at(t, s, "r1")
	s.SetNodes(start, "r2", []string{"r1"})
	at(t, s, "r2")
	s.Failed(start, "r2")
	at(t, s, "r1")
	s.SetNodes(start, "r1", nil)
	at(t, s, "r1")
	s.Failed(start, "r1")
	at(t, s, "r1") // there is nobody else
	if s.Elsewhere("r1") {
		t.Error("there is nobody else")
	}
}

// TestAlwaysTheBest: whatever happens, no node is in a better state than the one chosen; nobody
// goes from a fine node to another replica; and a primary that stays fine is come back to.
func TestAlwaysTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []string{"a", "b", "c", "d"}
		s := New(cfg, "a", []string{"b", "c"})
		now := start
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			node := rapid.SampledFrom(all).Draw(t, "node")
			was, primary := s.At(), s.primary
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				s.Failed(now, node)
			case 1, 2:
				s.Accepts(now, node)
			case 3:
				s.ReportFailing(now, node, rapid.Bool().Draw(t, "failing"))
			case 4:
				others := slices.DeleteFunc(rapid.Permutation(all).Draw(t, "nodes"), func(n string) bool { return n == node })
				s.SetNodes(now, node, others[:rapid.IntRange(0, 3).Draw(t, "replicas")])
			}
			if !s.Has(s.At()) {
				t.Fatalf("at %s, which is not of the shard", s.At())
			}
			for n := range s.nodes {
				if s.grade(n) < s.grade(s.At()) {
					t.Fatalf("at %s, but %s is better", s.At(), n)
				}
			}
			if s.At() != was && s.At() != s.primary && was != primary && s.Has(was) && s.grade(was) == s.grade(s.At()) && was != s.primary {
				t.Fatalf("from %s to %s, which is no better", was, s.At())
			}
			if h := s.health[s.primary]; h.trial > cfg.MaxTrial {
				t.Fatal(fmt.Sprint("a trial of ", h.trial))
			}
		}
		for n := range s.nodes {
			s.ReportFailing(now, n, false)
			s.Accepts(now, n)
		}
		s.Accepts(now.Add(cfg.MaxTrial), s.primary)
		if s.At() != s.primary || s.NeedsProbe(s.primary) {
			t.Fatal("nobody goes back to a primary that is fine")
		}
	})
}
