package supervisor

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func mustPassive(t testing.TB, spec Spec) *Passive {
	t.Helper()
	p, err := NewPassive(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPassiveBudget(t *testing.T) {
	p := mustPassive(t, Spec{Name: "billing", MaxRestarts: 100, Within: 10 * time.Second, Backoff: Backoff{Min: -1}})
	now := dawn
	for i := range 1000 { // as many as the window may hold
		now = now.Add(101 * time.Millisecond)
		if d := p.Failed(now, fmt.Sprint("key ", i), errBoom); !d.Restart || d.After != 0 || d.Err != nil {
			t.Fatalf("failure %d: %+v", i, d)
		}
	}
	var last Decision
	failures := 0
	for last.Err == nil {
		now = now.Add(time.Millisecond)
		last = p.Failed(now, "key", &PanicError{Value: "boom"})
		failures++
	}
	var tooMany *TooManyRestarts
	var panicked *PanicError
	if !errors.As(last.Err, &tooMany) || !errors.As(last.Err, &panicked) || last.Restart || failures != 1 {
		t.Errorf("after %d failures: %+v", failures, last)
	}
	if p.Err() != last.Err || p.Failed(now, "other", errBoom).Err != last.Err {
		t.Error("it did not stay ended")
	}
	if err := p.Add(now, "new"); err != last.Err {
		t.Errorf("Add: %v", err)
	}
	if tree := p.Tree(now); tree.State != StateStopped || tree.LastErr != last.Err {
		t.Errorf("unexpected:\n%v", tree)
	}
}

func TestPassiveDelaysAndTree(t *testing.T) {
	p := mustPassive(t, Spec{
		Name: "lanes", MaxRestarts: Unlimited,
		Backoff: Backoff{Min: 100 * time.Millisecond, Max: time.Second, Jitter: -1, ResetAfter: 10 * time.Second},
	})
	if err := p.Add(dawn, "0"); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(dawn, "0"); !errors.Is(err, ErrDuplicate) {
		t.Errorf("Add twice: %v", err)
	}
	now := dawn
	for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if d := p.Failed(now, "0", errBoom); d.After != want*time.Millisecond {
			t.Errorf("delay %v, want %v ms", d.After, want)
		} else if lane, _ := p.Tree(now).Find("0"); lane.State != StateBackoff {
			t.Errorf("lane is %v", lane.State)
		} else {
			now = now.Add(d.After + time.Second)
		}
		if lane, _ := p.Tree(now).Find("0"); lane.State != StateRunning || lane.Uptime != time.Second || lane.LastErr != errBoom {
			t.Errorf("lane: %+v", lane)
		}
	}
	now = now.Add(10 * time.Second)
	if d := p.Failed(now, "0", errBoom); d.After != 100*time.Millisecond {
		t.Errorf("after health: %v", d.After)
	}
	if d := p.Failed(now, "0", errBoom); d.After != 200*time.Millisecond {
		t.Errorf("failed while it should have waited: %v", d.After)
	}
	if d := p.Failed(now.Add(time.Second), "0", ErrDone); d.Restart || d.Err != nil {
		t.Errorf("done: %+v", d)
	}
	p.Remove(now, "0")
	p.Remove(now, "0")
	if tree := p.Tree(now); len(tree.Children) != 0 || tree.Restarts != 8 {
		t.Errorf("unexpected:\n%v", tree)
	}
	if d := p.Failed(now, "1", fmt.Errorf("x: %w", ErrEscalate)); d.Err == nil {
		t.Error("no escalation")
	}
}

// Keys that fail once in their life do not pile up, and added workers stay.
func TestPassiveForgets(t *testing.T) {
	p := mustPassive(t, Spec{Name: "actors", MaxRestarts: Unlimited})
	if err := p.Add(dawn, "added"); err != nil {
		t.Fatal(err)
	}
	now := dawn
	for i := range 10_000 {
		now = now.Add(time.Second)
		p.Failed(now, fmt.Sprint("key ", i), errBoom)
	}
	tree := p.Tree(now)
	if _, listed := tree.Find("added"); !listed || len(tree.Children) > 100 {
		t.Errorf("%d are listed", len(tree.Children))
	}
	if n := len(p.alarms); n > 1000 {
		t.Errorf("%d alarms", n)
	}
}

func TestPassiveHoldsNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	p := mustPassive(t, Spec{Name: "p"})
	p.Failed(dawn, "a", errBoom)
	if after := runtime.NumGoroutine(); after > before { // fewer: another test's came to its end
		t.Errorf("%d goroutines before, %d after", before, after)
	}
	if _, err := NewPassive(Spec{Name: "p", Strategy: OneForAll}); err == nil {
		t.Error("accepted a strategy")
	}
}
