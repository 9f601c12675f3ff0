package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
)

// sleep waits like a well-behaved handler.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt runs one attempt of h within m and returns what comes out of the chain, and after how
// long.
func attempt(t *testing.T, h func(context.Context) error, m ...bus.Middleware) (after time.Duration, err error) {
	t.Helper()
	once := func(next bus.Handler) bus.Handler { // whatever verdict comes out
		return func(ctx context.Context, d *bus.Delivery) error {
			if err = next(ctx, d); err != nil {
				return bus.Discard(err)
			}
			return nil
		}
	}
	o := bustest.Call(t, func(ctx context.Context, _ job) error { return h(ctx) }, job{},
		bustest.OnTopic(jobs), bustest.Use(once), bustest.Use(m...))
	return o.Attempts[0].Took, err
}

func TestTimeout(t *testing.T) {
	errBusy := errors.New("busy")
	for name, tc := range map[string]struct {
		h     func(ctx context.Context) error
		m     []bus.Middleware // in place of a Timeout of a second
		want  string           // "" is nil
		isNot []error
		is    []error
		after time.Duration
	}{
		"in time": {
			h:     func(ctx context.Context) error { return sleep(ctx, 900*time.Millisecond) },
			after: 900 * time.Millisecond,
		},
		"the context's error": {
			h:     func(ctx context.Context) error { return sleep(ctx, time.Hour) },
			want:  "jobs/handler: handler timed out after 1s: context deadline exceeded",
			is:    []error{middleware.ErrTimeout, context.DeadlineExceeded},
			after: time.Second,
		},
		"the context's error, wrapped": {
			h:     func(ctx context.Context) error { return fmt.Errorf("calling the bank: %w", sleep(ctx, time.Hour)) },
			want:  "jobs/handler: handler timed out after 1s: calling the bank: context deadline exceeded",
			is:    []error{middleware.ErrTimeout, context.DeadlineExceeded},
			after: time.Second,
		},
		"the context's cause": {
			h:     func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
			want:  "jobs/handler: handler timed out after 1s",
			is:    []error{middleware.ErrTimeout, context.DeadlineExceeded},
			after: time.Second,
		},
		"the context's error, late": {
			h:     func(ctx context.Context) error { time.Sleep(3 * time.Second); return ctx.Err() },
			want:  "jobs/handler: handler timed out after 1s, and the handler ignored that for 2s: context deadline exceeded",
			is:    []error{middleware.ErrTimeout, context.DeadlineExceeded},
			after: 3 * time.Second,
		},
		"the context's cause, late": {
			h:     func(ctx context.Context) error { time.Sleep(3 * time.Second); return context.Cause(ctx) },
			want:  "jobs/handler: handler timed out after 1s, and the handler ignored that for 2s",
			is:    []error{middleware.ErrTimeout, context.DeadlineExceeded},
			after: 3 * time.Second,
		},
		"another error after the deadline": {
			h:     func(context.Context) error { time.Sleep(2 * time.Second); return errBusy },
			want:  "jobs/handler: busy (the handler ignored its timeout of 1s for 1s)",
			is:    []error{errBusy},
			isNot: []error{middleware.ErrTimeout},
			after: 2 * time.Second, // cooperative: it waited
		},
		"success after the deadline": {
			h:     func(context.Context) error { time.Sleep(2 * time.Second); return nil },
			after: 2 * time.Second,
		},
		"the handler's own deadline": {
			h: func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				return sleep(ctx, time.Hour)
			},
			want:  "context deadline exceeded",
			is:    []error{context.DeadlineExceeded},
			isNot: []error{middleware.ErrTimeout},
			after: time.Millisecond,
		},
		"the outer of two": {
			h:     func(ctx context.Context) error { return sleep(ctx, time.Hour) },
			m:     []bus.Middleware{middleware.Timeout(time.Second), middleware.Timeout(time.Minute)},
			want:  "jobs/handler: handler timed out after 1s: context deadline exceeded",
			is:    []error{middleware.ErrTimeout},
			after: time.Second,
		},
		"the inner of two": {
			h:     func(ctx context.Context) error { return sleep(ctx, time.Hour) },
			m:     []bus.Middleware{middleware.Timeout(time.Minute), middleware.Timeout(time.Second)},
			want:  "jobs/handler: handler timed out after 1s: context deadline exceeded",
			is:    []error{middleware.ErrTimeout},
			after: time.Second,
		},
		"none": {
			h: func(ctx context.Context) error {
				if deadline, ok := ctx.Deadline(); ok {
					return fmt.Errorf("deadline %v", deadline)
				}
				return nil
			},
			m: []bus.Middleware{middleware.Timeout(0), middleware.Timeout(-time.Second)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := tc.m
				if m == nil {
					m = []bus.Middleware{middleware.Timeout(time.Second)}
				}
				after, err := attempt(t, tc.h, m...)
				if got := fmt.Sprint(err); tc.want == "" && err != nil || tc.want != "" && got != tc.want {
					t.Errorf("error %q, want %q", got, tc.want)
				}
				for _, target := range tc.is {
					if !errors.Is(err, target) {
						t.Errorf("%v is not %v", err, target)
					}
				}
				for _, target := range tc.isNot {
					if errors.Is(err, target) {
						t.Errorf("%v is %v", err, target)
					}
				}
				if after != tc.after {
					t.Errorf("it took %v, want %v", after, tc.after)
				}
			})
		})
	}
}

// A verdict that a handler made of the timeout stays one.
func TestTimeoutKeepsVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := attempt(t, func(ctx context.Context) error { return bus.RetryAfter(time.Minute, sleep(ctx, time.Hour)) },
			middleware.Timeout(time.Second))
		if v, ok := bus.VerdictOf(err); !ok || v.Action != bus.ActionRetry || v.After != time.Minute || !errors.Is(err, middleware.ErrTimeout) {
			t.Errorf("it became %v", err)
		}
	})
}

// Each attempt has a deadline of its own, and a timeout is retried like any failure.
func TestTimeoutOfEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, n := time.Now(), 0
		o := bustest.Call(t, func(ctx context.Context, _ job) error {
			if n++; n < 3 {
				return sleep(ctx, time.Hour)
			}
			return sleep(ctx, 500*time.Millisecond)
		}, job{}, bustest.Use(
			middleware.Retry(middleware.RetryConfig{InitialDelay: time.Second, Multiplier: 1, Jitter: -1}),
			middleware.Timeout(time.Second)))
		if took := time.Since(begin); !o.Handled() || len(o.Attempts) != 3 || took != 4500*time.Millisecond {
			t.Errorf("after %v: %v", took, o)
		}
	})
}

// What the end of the bus cuts short did not time out.
func TestTimeoutIsNotClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newTopic(t, bus.Config{})
		var outside spy
		subscribe(t, topic, func(ctx context.Context, _ bus.Message[job]) error { return sleep(ctx, time.Hour) },
			bus.Use(outside.middleware, middleware.Timeout(time.Minute)))
		publish(t, topic, job{})
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := outside.seen()[0]; !errors.Is(err, context.Canceled) || errors.Is(err, middleware.ErrTimeout) {
			t.Error(err)
		}
	})
}

func BenchmarkTimeout(b *testing.B) {
	b.Run("none", func(b *testing.B) { benchmarkChain(b, delivery(), middleware.Timeout(0)) })
	b.Run("hour", func(b *testing.B) { benchmarkChain(b, delivery(), middleware.Timeout(time.Hour)) })
}
