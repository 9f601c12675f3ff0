//go:build unix

package redistest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestControlOfServerThatStops: what a control's server does not answer in is a stall, also while it lasts; and the control
// goes on afterwards.
func TestControlOfServerThatStops(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{})
	c := must(startControl(s))(t)
	defer func() { ok(t, c.close()) }()
	const stood = 300 * time.Millisecond
	ok(t, s.Stop())
	begin := time.Now()
	ok(t, poll(ctx, "see the stall while it lasts", func(context.Context) error {
		now := time.Now()
		if whole := now.Sub(begin); whole-c.Own(begin, now) < stood {
			return fmt.Errorf("%v count of %v", c.Own(begin, now), whole)
		}
		return nil
	}))
	ok(t, s.Cont())
	ok(t, poll(ctx, "see the control go on", func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if since, waits := c.due["echo"]; waits && since.Before(begin.Add(stood)) {
			return errors.New("it stands still")
		}
		return nil
	}))
	now := time.Now()
	if whole := now.Sub(begin); whole-c.Own(begin, now) < stood {
		t.Errorf("%v count of %v", c.Own(begin, now), whole)
	}
}

// TestControlCounts: of each step that is late the slack counts, and all of a step that is not.
func TestControlCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Control{due: make(map[string]time.Time)}
		begin := time.Now()
		step := func(what string, took, want time.Duration) {
			t.Helper()
			from := time.Now()
			c.begin(what, from)
			time.Sleep(took)
			open := c.Own(from, time.Now())
			c.done(what)
			if got := c.Own(from, time.Now()); got != want || open != want {
				t.Errorf("%v of a step of %v count, and %v before it was done, want %v", got, took, open, want)
			}
		}
		step("tick", controlSlack, controlSlack)
		step("tick", time.Second, controlSlack)
		step("echo", time.Minute, controlSlack)
		step("echo", time.Millisecond, time.Millisecond)
		if got, want := c.Own(begin, time.Now()), 3*controlSlack+time.Millisecond; got != want {
			t.Errorf("%v count, want %v", got, want)
		}
	})
}

// TestControlWithTimeout: a context ends when what counts is over.
func TestControlWithTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Control{due: make(map[string]time.Time)}
		ctx, cancel := c.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		time.Sleep(9 * time.Second)
		c.begin("echo", time.Now())
		time.Sleep(time.Hour)
		if err := ctx.Err(); err != nil {
			t.Errorf("it ended while the control stood still: %v", err)
		}
		c.done("echo")
		time.Sleep(time.Second - controlSlack + time.Millisecond)
		if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("10 s that count have passed: %v", err)
		}

		ctx, cancel = c.WithTimeout(t.Context(), time.Hour)
		cancel()
		if err := ctx.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
