package middleware_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// A repetition that comes while the first is being handled on another lane waits for what becomes
// of it.
func TestDedupWhileRunning(t *testing.T) {
	for name, tc := range map[string]struct {
		first   error
		handled uint64
	}{"first succeeds": {nil, 1}, "first fails": {errBroken, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, topic := newTopic(t, bus.Config{})
				starts := make(chan time.Duration, 10)
				begin := time.Now()
				var calls atomic.Int32
				sub := subscribe(t, topic, func(context.Context, bus.Message[job]) error {
					starts <- time.Since(begin)
					if calls.Add(1) == 1 {
						time.Sleep(time.Second)
						return tc.first
					}
					return nil
				}, bus.Lanes(4), bus.Use(middleware.Dedup(middleware.DedupConfig{Wait: 300 * time.Millisecond})))
				for range 3 {
					publish(t, topic, job{}, bus.ID("a"))
				}
				shutdown(t, b, sub)
				close(starts)
				var at []time.Duration
				for s := range starts {
					at = append(at, s)
				}
				st := sub.Stats()
				if st.Handled != 1 || st.Snoozed < 2 {
					t.Error(st)
				}
				want := []time.Duration{0}
				if tc.first != nil {
					want = append(want, 1200*time.Millisecond) // the fourth time it asks
				}
				if !slices.Equal(at, want) || st.DeadLettered+st.Discarded != 2 {
					t.Errorf("handled at %v, want %v: %v", at, want, st)
				}
			})
		})
	}
}

// A repetition that comes between two attempts waits for the last of them.
func TestDedupBetweenAttempts(t *testing.T) {
	for name, tc := range map[string]struct {
		succeedsAt int // of the first
		handled    []string
		dead       uint64
	}{
		"first succeeds": {3, []string{"first 1", "first 2", "first 3"}, 0},
		"first given up": {9, []string{"first 1", "first 2", "first 3", "again 1"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, topic := newTopic(t, bus.Config{})
				var mu sync.Mutex
				var handled []string
				sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
					mu.Lock()
					defer mu.Unlock()
					handled = append(handled, fmt.Sprintf("%s %d", m.Headers.Get("name"), m.Attempt))
					if m.Headers.Get("name") == "first" && m.Attempt < tc.succeedsAt {
						return errBroken
					}
					return nil
				}, bus.Lanes(2), bus.Use(
					middleware.Dedup(middleware.DedupConfig{}),
					middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialDelay: time.Minute, MaxDelay: time.Hour})))
				publish(t, topic, job{}, bus.ID("a"), bus.Header("name", "first"))
				time.Sleep(time.Second) // its first attempt has failed
				publish(t, topic, job{}, bus.ID("a"), bus.Header("name", "again"))
				shutdown(t, b, sub)
				if !slices.Equal(handled, tc.handled) {
					t.Errorf("attempts %q, want %q", handled, tc.handled)
				}
				if st := sub.Stats(); st.Handled != 1 || st.DeadLettered != tc.dead || st.Discarded != 1-tc.dead {
					t.Error(st)
				}
			})
		})
	}
}

// If the first never comes back for the attempt it was granted, because something further out
// decided otherwise, a repetition takes its place.
func TestDedupTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newTopic(t, bus.Config{})
		overrule := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				err := next(ctx, d)
				if v, ok := bus.VerdictOf(err); ok && v.Action == bus.ActionRetry {
					return bus.Discard(err)
				}
				return err
			}
		}
		begin := time.Now()
		var at []time.Duration
		sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
			at = append(at, time.Since(begin))
			if m.Value.N == 1 {
				return bus.RetryAfter(10*time.Second, errBroken)
			}
			return nil
		}, bus.Use(overrule, middleware.Dedup(middleware.DedupConfig{Wait: time.Second})))
		publish(t, topic, job{N: 1}, bus.ID("a"))
		publish(t, topic, job{N: 2}, bus.ID("a"))
		shutdown(t, b, sub)
		if !slices.Equal(at, []time.Duration{0, 11 * time.Second}) {
			t.Errorf("handled at %v: %v", at, sub.Stats())
		}
	})
}

// Retries that never come are bounded by Size too: the oldest is forgotten.
func TestDedupBoundsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newTopic(t, bus.Config{})
		handled := map[string]int{}
		sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
			if handled[m.ID.String()]++; m.Attempt == 1 && m.Value.N == 0 {
				return bus.RetryAfter(time.Hour, errBroken)
			}
			return nil
		}, bus.Use(middleware.Dedup(middleware.DedupConfig{Size: 1})))
		publish(t, topic, job{N: 0}, bus.ID("a"))
		publish(t, topic, job{N: 0}, bus.ID("b")) // a is forgotten
		publish(t, topic, job{N: 1}, bus.ID("a")) // handled at once, and remembered
		publish(t, topic, job{N: 1}, bus.ID("b")) // waits
		shutdown(t, b, sub)
		if handled["a"] != 2 || handled["b"] != 2 {
			t.Errorf("handled %v: %v", handled, sub.Stats())
		}
		if st := sub.Stats(); st.Discarded != 2 || st.Handled != 2 {
			t.Error(st)
		}
	})
}

// A handler that never returns, but panics further in or ends its goroutine, does not hold its key
// for ever.
func TestDedupUnwound(t *testing.T) {
	for name, unwind := range map[string]func(){
		"panic": func() { panic("middleware") }, "goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, topic := newTopic(t, bus.Config{})
				first := true
				inner := func(next bus.Handler) bus.Handler {
					return func(ctx context.Context, d *bus.Delivery) error {
						if first {
							first = false
							unwind()
						}
						return next(ctx, d)
					}
				}
				var r record
				sub := subscribe(t, topic, r.handle, bus.Use(middleware.Dedup(middleware.DedupConfig{}), inner))
				publish(t, topic, job{}, bus.ID("a"))
				publish(t, topic, job{}, bus.ID("a"))
				shutdown(t, b, sub)
				if st := sub.Stats(); !slices.Equal(r.ids, []string{"a"}) || st.Snoozed != 0 || st.DeadLettered != 1 {
					t.Errorf("handled %v: %v", r.ids, st)
				}
			})
		})
	}
}
