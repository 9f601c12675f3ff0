package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
)

var errBroken = errors.New("broken")

// fails is a handler that always fails.
func fails(context.Context, bus.Message[job]) error { return errBroken }

// delays runs an event through Retry(cfg) until it is given up, or the given number of attempts,
// and returns the delays that Retry asked for.
func delays(t testing.TB, cfg middleware.RetryConfig, most int) []time.Duration {
	t.Helper()
	var after []time.Duration
	watch := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			err := next(ctx, d)
			v, ok := bus.VerdictOf(err)
			if !ok || v.Action != bus.ActionRetry {
				return err
			}
			after = append(after, v.After)
			if len(after) >= most {
				return bus.Discard(err)
			}
			return bus.RetryAfter(0, err) // at once: only the number counts
		}
	}
	b, topic := newTopic(t, bus.Config{})
	sub := subscribe(t, topic, fails, bus.Use(watch, middleware.Retry(cfg)))
	publish(t, topic, job{})
	shutdown(t, b, sub)
	return after
}

func TestRetryUntilGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var told []int
		o := bustest.Call(t, func(context.Context, job) error { return errBroken }, job{Key: "k"},
			bustest.Use(middleware.Retry(middleware.RetryConfig{
				MaxAttempts: 4, InitialDelay: time.Second, MaxDelay: 3 * time.Second, Jitter: -1,
				OnGiveUp: func(d *bus.Delivery, err *middleware.GiveUpError) {
					told = append(told, err.Attempts, d.Attempt())
				},
			})))
		var at []time.Duration
		var attempts []int
		for _, a := range o.Attempts {
			at, attempts = append(at, a.Began.Sub(begin)), append(attempts, a.Number)
		}
		if want := []time.Duration{0, 1 * time.Second, 3 * time.Second, 6 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		if !slices.Equal(attempts, []int{1, 2, 3, 4}) || !slices.Equal(told, []int{4, 4}) {
			t.Errorf("attempts %v, OnGiveUp was told %v", attempts, told)
		}
		var gaveUp *middleware.GiveUpError
		if o.Letter == nil || o.Letter.Attempts != 4 || !errors.As(o.Err, &gaveUp) || gaveUp.Attempts != 4 ||
			!errors.Is(o.Err, errBroken) || o.Err.Error() != "gave up after 4 attempts: broken" {
			t.Error(o)
		}
		if st := o.Stats; st.Failed != 4 || st.Retried != 3 || st.DeadLettered != 1 {
			t.Error(st)
		}
	})
}

// A panic is a failed attempt: it is retried, and the last one's stack is in the dead letter.
func TestRetryPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
			if m.Attempt <= m.Value.N {
				panic(fmt.Sprintf("attempt %d", m.Attempt))
			}
			return nil
		}, bus.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: 3})))
		publish(t, topic, job{Key: "recovers", N: 2})
		publish(t, topic, job{Key: "never", N: 99})
		shutdown(t, b, sub)
		if st := sub.Stats(); st.Panicked != 5 || st.Handled != 1 || st.DeadLettered != 1 {
			t.Error(st)
		}
		letters := sub.DeadLetters()
		if len(letters) != 1 || len(letters[0].Stack) == 0 {
			t.Fatalf("dead letters: %+v", letters)
		}
		var pe *bus.PanicError
		if !errors.As(letters[0].Err, &pe) || pe.Value != "attempt 3" {
			t.Errorf("the dead letter says %v", letters[0].Err)
		}
	})
}

// What was decided further in stays decided, wrapped or not.
func TestRetryLeavesVerdicts(t *testing.T) {
	for _, verdict := range []error{
		bus.RetryAfter(time.Hour, errBroken), bus.Snooze(time.Hour), bus.DeadLetter(errBroken), bus.Discard(nil),
		fmt.Errorf("wrapped: %w", bus.Discard(errBroken)),
	} {
		t.Run(verdict.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := true
				o := bustest.Call(t, func(context.Context, job) error {
					if !first {
						return nil
					}
					first = false
					return verdict
				}, job{}, bustest.Within(2*time.Hour), bustest.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: 1})))
				if got := o.Attempts[0].Err; got != verdict {
					t.Errorf("it became %v", got)
				}
			})
		})
	}
}

func TestRetryIf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errBadOrder := errors.New("bad order")
		for _, tc := range []struct {
			err  error
			want string
		}{
			{fmt.Errorf("job 7: %w", errBadOrder), "gave up after 1 attempt: job 7: bad order"},
			{errBroken, "gave up after 3 attempts: broken"},
		} {
			o := bustest.Call(t, func(context.Context, job) error { return tc.err }, job{},
				bustest.Use(middleware.Retry(middleware.RetryConfig{
					MaxAttempts: 3, If: func(err error) bool { return !errors.Is(err, errBadOrder) },
				})))
			if o.Letter == nil || o.Err.Error() != tc.want {
				t.Errorf("%v, want %q", o, tc.want)
			}
		}
	})
}

// While a key waits for its retry its later events wait behind it, and other keys of the same lane
// go on.
func TestRetryKeepsOrderOfKey(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		t.Run(fmt.Sprintf("lanes=%d", lanes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, topic := newTopic(t, bus.Config{})
				begin := time.Now()
				type done struct {
					key string
					n   int
					at  time.Duration
				}
				handled := make(chan done, 1000)
				sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
					if m.Value.Key == "slow" && m.Value.N%3 == 0 && m.Attempt < 3 {
						return errBroken
					}
					handled <- done{m.Value.Key, m.Value.N, time.Since(begin)}
					return nil
				}, bus.Lanes(lanes), bus.Use(middleware.Retry(middleware.RetryConfig{InitialDelay: time.Minute, MaxDelay: time.Hour})))
				for n := range 10 {
					for _, key := range []string{"slow", "a", "b", "c"} {
						publish(t, topic, job{key, n})
					}
				}
				shutdown(t, b, sub)
				close(handled)
				next := map[string]int{}
				for d := range handled {
					if d.n != next[d.key] {
						t.Errorf("key %s: event %d came in place of %d", d.key, d.n, next[d.key])
					}
					next[d.key]++
					if d.key != "slow" && d.at != 0 {
						t.Errorf("key %s: event %d waited %v for another key", d.key, d.n, d.at)
					}
				}
				for _, key := range []string{"slow", "a", "b", "c"} {
					if next[key] != 10 {
						t.Errorf("key %s: %d of 10 handled", key, next[key])
					}
				}
			})
		})
	}
}

// A handler that is cut short when the bus closes is not given up: it is abandoned.
func TestRetryOfClosedSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, func(ctx context.Context, _ bus.Message[job]) error {
			<-ctx.Done()
			return ctx.Err()
		}, bus.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: 1, OnGiveUp: func(*bus.Delivery, *middleware.GiveUpError) {
			t.Error("the event was given up")
		}})))
		publish(t, topic, job{})
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if st := sub.Stats(); st.Abandoned != 1 || st.DeadLettered != 0 {
			t.Error(st)
		}
	})
}

// Without jitter the delays are those that the back-off library steps through.
func TestRetryFollowsBackoff(t *testing.T) {
	got := delays(t, middleware.RetryConfig{
		MaxAttempts: -1, InitialDelay: 70 * time.Millisecond, MaxDelay: 10 * time.Second, Multiplier: 1.7, Jitter: -1,
	}, 200)
	ref := backoff.NewExponentialBackOff(backoff.WithInitialInterval(70*time.Millisecond), backoff.WithMaxInterval(10*time.Second),
		backoff.WithMultiplier(1.7), backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
	if len(got) != 200 {
		t.Fatalf("%d delays", len(got))
	}
	for i, d := range got {
		if want := ref.NextBackOff(); (d - want).Abs() > time.Microsecond { // the library rounds at each step
			t.Fatalf("delay %d is %v, want %v", i+1, d, want)
		}
	}
}

// Whatever the configuration, delays are within the documented bounds.
func TestRetryDelayBounds(t *testing.T) {
	odd := []float64{0, -1, 0.5, 1, 2, 1e300, math.Inf(1), math.Inf(-1), math.NaN()}
	rapid.Check(t, func(rt *rapid.T) {
		const year = 365 * 24 * time.Hour
		durations := rapid.OneOf(rapid.Just(time.Duration(math.MaxInt64)), rapid.Just(time.Duration(math.MinInt64)),
			rapid.Map(rapid.Int64Range(-1000, int64(time.Hour)), func(n int64) time.Duration { return time.Duration(n) }))
		floats := rapid.OneOf(rapid.SampledFrom(odd), rapid.Float64Range(0, 10))
		cfg := middleware.RetryConfig{
			MaxAttempts:  rapid.IntRange(-2, 12).Draw(rt, "attempts"),
			InitialDelay: durations.Draw(rt, "initial"),
			MaxDelay:     durations.Draw(rt, "max"),
			Multiplier:   floats.Draw(rt, "multiplier"),
			Jitter:       floats.Draw(rt, "jitter"),
		}
		got := delays(t, cfg, 20)

		attempts := map[bool]int{true: 5, false: cfg.MaxAttempts}[cfg.MaxAttempts == 0]
		if want := min(20, attempts-1); attempts > 0 && len(got) != want || attempts < 0 && len(got) != 20 {
			rt.Fatalf("%d delays for %d attempts", len(got), attempts)
		}
		or := func(d, def time.Duration) time.Duration {
			if d <= 0 {
				return def
			}
			return min(d, year)
		}
		first := or(cfg.InitialDelay, 100*time.Millisecond)
		longest := max(first, or(cfg.MaxDelay, 30*time.Second))
		jitter := cfg.Jitter
		switch {
		case jitter == 0 || math.IsNaN(jitter):
			jitter = 0.5
		case jitter < 0:
			jitter = 0
		}
		jitter = min(jitter, 1)
		for i, d := range got {
			lo, hi := float64(first)*(1-jitter)-2, float64(longest)*(1+jitter)*(1+1e-9)+2
			if float64(d) < lo || float64(d) > hi {
				rt.Fatalf("delay %d is %v, not within %v and %v", i+1, d, time.Duration(lo), time.Duration(hi))
			}
		}
	})
}

// Jitter does something: a hundred delays are not one.
func TestRetryJitters(t *testing.T) {
	got := delays(t, middleware.RetryConfig{MaxAttempts: -1, Multiplier: 1}, 100)
	slices.Sort(got)
	if n := len(slices.Compact(got)); n < 50 {
		t.Errorf("%d different delays of 100", n)
	}
}

func BenchmarkRetry(b *testing.B) {
	benchmarkChain(b, delivery(), middleware.Retry(middleware.RetryConfig{}))
}
