package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/bus"
)

//go:noinline
func explodeHere(v any) { panic(v) }

// A panic is a dead letter with its cause and the whole stack, and the lane
// goes on with the next event.
func TestHandlerPanic(t *testing.T) {
	cause := errors.New("cause")
	for _, tc := range []struct {
		name  string
		value any
		is    error
		text  string
	}{
		{"string", "boom", nil, "panic: boom"},
		{"error", cause, cause, "panic: cause"},
		{"nil", nil, nil, "panic: panic called with nil argument"},
		{"number", 42, nil, "panic: 42"},
	} {
		for _, opts := range [][]bus.SubscribeOption{nil, {bus.Use(passThrough)}, {bus.Mailbox(8, bus.DropOldest)}} {
			t.Run(fmt.Sprint(tc.name, len(opts)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBus(t, bus.Config{})
					topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
					s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
						if n == 2 {
							explodeHere(tc.value)
						}
						return nil
					}, opts...)
					publish(t, topic, 1, 2, 3)
					shutdown(t, b)
					if st := stats(t, s); st.Handled != 2 || st.DeadLettered != 1 || st.Panicked != 1 || st.Failed != 1 {
						t.Errorf("%v", st)
					}
					letters := s.DeadLetters()
					if len(letters) != 1 {
						t.Fatalf("%d letters", len(letters))
					}
					var pe *bus.PanicError
					if err := letters[0].Err; !errors.As(err, &pe) || !strings.HasPrefix(err.Error(), tc.text) || tc.is != nil && !errors.Is(err, tc.is) {
						t.Errorf("%v", letters[0].Err)
					}
					if !strings.Contains(string(letters[0].Stack), "explodeHere") || !strings.Contains(string(letters[0].Stack), "panic_test.go") {
						t.Errorf("the stack does not show where it happened:\n%s", letters[0].Stack)
					}
				})
			})
		}
	}
}

// Middleware sees the handler's panic as an error, and may turn it into a
// verdict.
func TestMiddlewareSeesPanicAsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen list[string]
		watch := func(name string) bus.Middleware {
			return func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) error {
					err := next(ctx, d)
					var pe *bus.PanicError
					if errors.As(err, &pe) {
						seen.add(fmt.Sprint(name, " ", pe.Value, " ", strings.Contains(string(pe.Stack), "explodeHere")))
						if name == "inner" && d.Attempt() < 3 {
							return bus.RetryAfter(time.Second, err)
						}
					}
					return err
				}
			}
		}
		b := newBus(t, bus.Config{Use: []bus.Middleware{watch("outer")}})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, int) error { explodeHere("boom"); return nil }, bus.Use(watch("inner")))
		publish(t, topic, 1)
		shutdown(t, b)
		seen.require(t, "panics", "inner boom true", "outer boom true", "inner boom true", "outer boom true", "inner boom true", "outer boom true")
		letters := s.DeadLetters()
		if st := stats(t, s); st.Panicked != 3 || st.Retried != 2 || st.DeadLettered != 1 || len(letters) != 1 || letters[0].Attempts != 3 {
			t.Errorf("%v", st)
		}
		if len(letters) == 1 && !strings.Contains(string(letters[0].Stack), "explodeHere") {
			t.Errorf("stack %s", letters[0].Stack)
		}
	})
}

// A middleware's own panic, before or after the handler, is a failed attempt
// like the handler's.
func TestMiddlewarePanics(t *testing.T) {
	for _, where := range []string{"before", "after", "bus"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				faulty := func(next bus.Handler) bus.Handler {
					return func(ctx context.Context, d *bus.Delivery) error {
						v, _ := bus.Value[int](d)
						if *v == 2 && where != "after" {
							explodeHere(where)
						}
						err := next(ctx, d)
						if *v == 2 && where == "after" {
							explodeHere(where)
						}
						return err
					}
				}
				cfg, opts := bus.Config{}, []bus.SubscribeOption{bus.Use(faulty)}
				if where == "bus" {
					cfg.Use, opts = []bus.Middleware{faulty}, nil
				}
				b := newBus(t, cfg)
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				s := subscribe(t, topic, "s", ignore[int], opts...)
				publish(t, topic, 1, 2, 3)
				shutdown(t, b)
				letters := s.DeadLetters()
				if st := stats(t, s); st.Handled != 2 || st.Panicked != 1 || len(letters) != 1 {
					t.Fatalf("%v", st)
				}
				if !strings.Contains(string(letters[0].Stack), "explodeHere") {
					t.Errorf("stack %s", letters[0].Stack)
				}
			})
		})
	}
}

// runtime.Goexit in a handler or middleware (testing's FailNow) ends the lane's
// goroutine, not the lane.
func TestGoexit(t *testing.T) {
	exit := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if v, _ := bus.Value[event](d); v.N < 0 {
				runtime.Goexit()
			}
			return next(ctx, d)
		}
	}
	for _, tc := range []struct {
		name string
		opts []bus.SubscribeOption
	}{
		{"plain", nil},
		{"middleware", []bus.SubscribeOption{bus.Use(exit)}},
		{"evicting", []bus.SubscribeOption{bus.Mailbox(20, bus.DropOldest)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				attempts := map[event]int{}
				var done list[string]
				s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
					attempts[e]++
					switch {
					case e.N < 0 || e.N == 3 && attempts[e] == 2:
						runtime.Goexit()
					case e.N == 3:
						return bus.RetryAfter(time.Second, errAgain)
					}
					done.add(e.String())
					return nil
				}, tc.opts...)
				publish(t, topic, event{"a", 1}, event{"a", -1}, event{"a", 2}, event{"a", 3}, event{"a", 4}, event{"b", -1}, event{"b", 5})
				shutdown(t, b)
				done.require(t, "handled", "a1", "a2", "b5", "a4")
				letters := s.DeadLetters()
				if st := stats(t, s); st.Handled != 4 || st.DeadLettered != 3 || st.Panicked != 3 || len(letters) != 3 {
					t.Fatalf("%v", st)
				}
				for _, l := range letters {
					if !errors.Is(l.Err, bus.ErrGoexit) {
						t.Errorf("%v", l.Err)
					}
				}
			})
		})
	}
}

// Beyond its panic budget a subscription stops, says why, and leaves the others
// alone.
func TestPanicBudget(t *testing.T) {
	for _, lanes := range []int{1, 3} {
		t.Run(fmt.Sprint(lanes, " lanes"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, logs := observed()
				b := newBus(t, bus.Config{Logger: logger})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
				elsewhere := newTopic(t, b, bus.TopicConfig[int]{Name: "elsewhere"})
				s := subscribe(t, topic, "worker", func(ctx context.Context, n int) error {
					if n < 0 {
						<-ctx.Done() // runs in another lane when the budget is exceeded
						return ctx.Err()
					}
					explodeHere(errBad)
					return nil
				}, bus.PanicBudget(2, time.Second), bus.Lanes(lanes))
				other := subscribe(t, topic, "other", ignore[int])
				third := subscribe(t, elsewhere, "third", ignore[int])
				accepted := uint64(6)
				if lanes > 1 {
					publish(t, topic, -1)
					accepted++
					synctest.Wait()
				}
				s.Pause()
				publish(t, topic, 1, 2, 3, 4, 5, 6)
				s.Resume()
				<-s.Done()
				synctest.Wait()
				if st := stats(t, s); st.Accepted != accepted || st.Panicked < 3 || st.DeadLettered < 3 || st.Abandoned+st.DeadLettered != accepted || lanes == 1 && st.DeadLettered != 3 {
					t.Errorf("%v", st)
				}
				requireError(t, s.Err(), bus.ErrPanicBudget, "jobs", "worker", "more than 2 panics within 1s", "bad")
				if !errors.Is(s.Err(), errBad) {
					t.Errorf("%v does not wrap the panic", s.Err())
				}
				entries := logs.FilterMessageSnippet("panicked too often").All()
				if len(entries) != 1 || entries[0].Level != zapcore.ErrorLevel || entries[0].ContextMap()["subscription"] != "worker" || entries[0].ContextMap()["topic"] != "jobs" {
					t.Errorf("log: %v", entries)
				}
				publish(t, topic, 7)
				publish(t, elsewhere, 8)
				synctest.Wait()
				if st := stats(t, other); st.Handled != accepted+1 || isDone(other) || other.Err() != nil {
					t.Errorf("the other subscription: %v", st)
				}
				if st := stats(t, third); st.Handled != 1 || isDone(third) {
					t.Errorf("the other topic: %v", st)
				}
				if st := stats(t, s); st.Accepted != accepted {
					t.Errorf("it still accepts: %v", st)
				}
				// Its letters can still be read, and its name is free.
				if len(s.DeadLetters()) < 3 {
					t.Errorf("%d letters", len(s.DeadLetters()))
				}
				subscribe(t, topic, "worker", ignore[int])
				if err := s.Drain(t.Context()); err != nil && !errors.Is(err, bus.ErrPanicBudget) {
					t.Errorf("drain after the end: %v", err)
				}
				if err := s.Err(); !errors.Is(err, bus.ErrPanicBudget) {
					t.Errorf("the reason is gone: %v", err)
				}
			})
		})
	}
}

// The budget is a sliding window, exact to its edge.
func TestPanicBudgetSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, int) error { panic("boom") }, bus.PanicBudget(2, 10*time.Second))
		for i, wait := range []time.Duration{0, 6, 5, 6, 5, 6, 5} { // never three within 10 s
			time.Sleep(wait * time.Second)
			publish(t, topic, i)
			synctest.Wait()
			if isDone(s) {
				t.Fatalf("stopped at panic %d: %v", i, s.Err())
			}
		}
		time.Sleep(4 * time.Second) // at 37 s, after those at 28 s and 33 s
		publish(t, topic, 99)
		synctest.Wait()
		if !isDone(s) || !errors.Is(s.Err(), bus.ErrPanicBudget) {
			t.Errorf("three within 10 s: done %v, %v", isDone(s), s.Err())
		}
		if st := stats(t, s); st.Panicked != 8 || st.DeadLettered != 8 {
			t.Errorf("%v", st)
		}
	})
}

func TestPanicBudgetOfNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if n == 2 {
				panic("boom")
			}
			return nil
		}, bus.PanicBudget(0, time.Second))
		s.Pause()
		publish(t, topic, 1, 2, 3)
		s.Resume()
		<-s.Done()
		if st := stats(t, s); st.Handled != 1 || st.DeadLettered != 1 || st.Abandoned != 1 {
			t.Errorf("%v", st)
		}
	})
}

// A publisher that waits for a subscription which its panics stop goes on.
func TestPanicBudgetReleasesPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "s", func(context.Context, int) error {
			time.Sleep(time.Second)
			panic("boom")
		}, bus.PanicBudget(0, time.Second), bus.Mailbox(1, bus.Block))
		other := subscribe(t, topic, "other", ignore[int])
		publish(t, topic, 1, 2, 3, 4, 5)
		synctest.Wait()
		if st := stats(t, other); st.Handled != 5 {
			t.Errorf("%v", st)
		}
	})
}
