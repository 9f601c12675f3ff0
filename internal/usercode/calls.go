package usercode

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// lateness is how long after the end of its context a call may still bring its own error.
const lateness = 100 * time.Millisecond

// Calls keeps count of calls that did not return although their contexts ended. A nil *Calls allows
// any number of them.
type Calls struct {
	mu   sync.Mutex
	left map[string]int // calls that were left behind, by key; mu guards it
}

// Do is Call for a function that obeys a context. When ctx ends and f does not return, Do returns
// an error without it; until f has returned after all, every further Do with the same key fails at
// once, so at most one goroutine for each call that was under way is left behind. late, which may
// be nil, is given a result that nobody waits for any more.
func Do[T any](ctx context.Context, c *Calls, key, what string, f func(ctx context.Context) (T, error), late func(T)) (T, error) {
	var none T
	if c.blocked(key) {
		return none, fmt.Errorf("%s has not returned from an earlier call whose context has ended", what)
	}
	var result T
	var mu sync.Mutex // guards abandoned and returned
	abandoned, returned := false, false
	ended := make(chan error, 1)
	go run(what, func() (err error) {
		result, err = f(ctx)
		return err
	}, func(err error) {
		mu.Lock()
		returned = true
		orphan := abandoned
		mu.Unlock()
		ended <- err
		if !orphan {
			return
		}
		c.count(key, -1)
		if err == nil && late != nil {
			late(result)
		}
	})
	select {
	case err := <-ended:
		return result, err
	case <-ctx.Done():
	}
	wait := time.NewTimer(lateness)
	defer wait.Stop()
	select {
	case err := <-ended:
		return result, err
	case <-wait.C:
	}
	mu.Lock()
	if returned { // at the last moment
		mu.Unlock()
		return result, <-ended
	}
	abandoned = true
	c.count(key, 1)
	mu.Unlock()
	return none, fmt.Errorf("%s has not returned although its context has ended: %w", what, context.Cause(ctx))
}

// blocked tells whether a call with that key was left behind and still runs.
func (c *Calls) blocked(key string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left[key] > 0
}

func (c *Calls) count(key string, n int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == nil {
		c.left = make(map[string]int)
	}
	if c.left[key] += n; c.left[key] == 0 {
		delete(c.left, key)
	}
}
