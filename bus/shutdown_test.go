package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// During Shutdown handlers finish with a live context and may still publish, to
// any topic; outsiders may not.
func TestHandlersPublishDuringShutdown(t *testing.T) {
	for _, broker := range []bool{false, true} {
		t.Run(fmt.Sprint("broker ", broker), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := bus.Config{}
				if broker {
					cfg.Transport = memory.NewBroker().Connect()
				}
				b := newBus(t, cfg)
				first := newTopic(t, b, bus.TopicConfig[int]{Name: "first"})
				second := newTopic(t, b, bus.TopicConfig[int]{Name: "second"})
				third := newTopic(t, b, bus.TopicConfig[int]{Name: "third"})
				subscribe(t, first, "s", func(ctx context.Context, n int) error {
					time.Sleep(time.Second)
					return errors.Join(ctx.Err(), second.Publish(ctx, n))
				})
				subscribe(t, second, "s", func(ctx context.Context, n int) error {
					time.Sleep(time.Minute)
					return errors.Join(ctx.Err(), third.PublishBatch(context.WithoutCancel(ctx), []int{n, n, n}))
				}, bus.Mailbox(1, bus.Block))
				last := subscribe(t, third, "s", func(ctx context.Context, n int) error {
					time.Sleep(time.Second)
					if n > 0 {
						return errors.Join(ctx.Err(), third.Publish(ctx, n-1))
					}
					return ctx.Err()
				})
				publish(t, first, 2, 2, 2, 2)
				synctest.Wait()
				go func() {
					time.Sleep(time.Millisecond)
					requireError(t, first.Publish(t.Context(), 9), bus.ErrClosed, "publish", "first")
					requireError(t, first.PublishBatch(t.Context(), []int{9}), bus.ErrClosed, "publish", "first")
					_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "new"})
					requireError(t, err, bus.ErrClosed, "new topic", "new")
					_, err = third.Subscribe(t.Context(), "late", ignore[int])
					requireError(t, err, bus.ErrClosed, "subscribe", "third", "late")
				}()
				shutdown(t, b)
				if st := stats(t, last); st.Handled != 4*3*3 || st.DeadLettered != 0 {
					t.Errorf("%v", st)
				}
			})
		})
	}
}

// A Shutdown whose context ends cancels handlers and says what it abandoned of
// which subscription.
func TestHastyShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
		slow := subscribe(t, topic, "slow", func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		})
		fast := subscribe(t, topic, "fast", ignore[int])
		publish(t, topic, 1, 2, 3)
		cause := errors.New("had enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		began := time.Now()
		err := b.Shutdown(ctx)
		requireError(t, err, cause, "shutdown", "jobs/slow")
		requireLeft(t, err, 3, 1)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("after %v", d)
		}
		<-slow.Done()
		<-fast.Done()
		if st := stats(t, slow); st.Abandoned != 3 || slow.Err() != nil {
			t.Errorf("%v; %v", st, slow.Err())
		}
		if st := stats(t, fast); st.Handled != 3 {
			t.Errorf("%v", st)
		}
		shutdown(t, b) // again
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// "Drain and Shutdown lift a pause, and after them Pause does nothing."
func TestPauseDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, int) error { time.Sleep(time.Second); return nil })
		s.Pause()
		publish(t, topic, 1, 2, 3)
		got := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			got <- b.Shutdown(ctx)
		}()
		synctest.Wait() // 1 runs
		s.Pause()
		if err := <-got; err != nil {
			t.Errorf("a Pause after the call of Shutdown held it up: %v", err)
		}
		if st := stats(t, s); st.Handled != 3 {
			t.Errorf("%v", st)
		}
	})
}

// A Shutdown that something else cut short must not say that everything was
// handled.
func TestShutdownCutShort(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(b *bus.Bus)
	}{
		{"by Close", func(b *bus.Bus) { b.Close() }},
		{"by a hasty Shutdown", func(b *bus.Bus) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			b.Shutdown(ctx)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
				s := subscribe(t, topic, "worker", func(ctx context.Context, n int) error {
					<-ctx.Done()
					return ctx.Err()
				})
				publish(t, topic, 1, 2, 3)
				got := make(chan error, 1)
				go func() { got <- b.Shutdown(context.Background()) }()
				synctest.Wait()
				tc.end(b)
				if err := <-got; err == nil {
					t.Errorf("Shutdown returned nil: %v", stats(t, s))
				}
			})
		})
	}
}

// Close and Shutdown from many goroutines at once, early, twice and late.
func TestConcurrentEnds(t *testing.T) {
	for _, broker := range []bool{false, true} {
		t.Run(fmt.Sprint("broker ", broker), func(t *testing.T) {
			for range 20 {
				cfg := bus.Config{}
				if broker {
					cfg.Transport = memory.NewBroker().Connect()
				}
				b := newBus(t, cfg)
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				s := subscribe(t, topic, "s", ignore[int], bus.Lanes(3))
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						for n := range 50 {
							if err := topic.Publish(t.Context(), n); err != nil && !errors.Is(err, bus.ErrClosed) {
								t.Error(err)
							}
						}
					})
					wg.Go(func() {
						if i%2 == 0 {
							if err := b.Close(); err != nil {
								t.Error(err)
							}
						} else {
							b.Shutdown(t.Context()) // may be cut short by a Close
						}
						if !isDone(s) {
							t.Error("the bus has ended and the subscription has not")
						}
					})
				}
				wg.Wait()
				if st := stats(t, s); st.Pending() != 0 {
					t.Errorf("%v", st)
				}
			}
		})
	}
}

func TestEndOfUnusedBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cfg := range []bus.Config{{}, {Transport: memory.NewBroker().Connect()}} {
			b := newBus(t, cfg)
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
			s := subscribe(t, topic, "unused", ignore[int])
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			// Nothing is pending: there is nothing to wait for.
			if err := b.Shutdown(ctx); err != nil && cfg.Transport == nil {
				t.Errorf("%v", err)
			}
			for range 2 {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				shutdown(t, b)
			}
			if !isDone(s) {
				t.Error("not done")
			}
		}
	})
}

// A handler that waits for room when the bus is closed under it is told so; its
// event must not vanish behind a nil.
func TestHandlerBlockedInPublishIsToldOfTheEnd(t *testing.T) {
	for i := range 200 {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			fan := newTopic(t, b, bus.TopicConfig[int]{Name: "in"})
			out := newTopic(t, b, bus.TopicConfig[int]{Name: "out"})
			result := make(chan error, 1)
			subscribe(t, fan, "s", func(ctx context.Context, n int) error {
				result <- out.Publish(context.WithoutCancel(ctx), n)
				return nil
			})
			_, _, release := blocked(t, out, "stuck", bus.Mailbox(1, bus.Block))
			publish(t, out, 1)
			synctest.Wait()
			publish(t, out, 2)
			publish(t, fan, 3)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if err := <-result; !errors.Is(err, bus.ErrClosed) {
				t.Errorf("run %d: the event entered no mailbox, and Publish said %v", i, err)
			}
			release()
			synctest.Wait()
		})
		if t.Failed() {
			return
		}
	}
}

// Buses, topics and subscriptions started, stopped and used in any order at
// once: nothing hangs, leaks or is unbalanced.
func TestStartStopStress(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			cfg := bus.Config{Grace: time.Hour}
			if seed%2 == 1 {
				cfg.Transport = memory.NewBroker().Connect()
			}
			b, err := bus.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			topics := make([]*bus.Topic[event], 3)
			for i := range topics {
				topics[i] = newTopic(t, b, bus.TopicConfig[event]{Name: fmt.Sprint("t", i), Key: eventKey})
			}
			var mu sync.Mutex
			var subs []*bus.Subscription
			roll := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return rng.IntN(n)
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 30 {
						time.Sleep(time.Duration(roll(1000)) * time.Microsecond)
						topic := topics[roll(3)]
						s, err := topic.Subscribe(context.Background(), fmt.Sprint("s", roll(4)), func(ctx context.Context, e event) error {
							switch roll(6) {
							case 0:
								return bus.RetryAfter(time.Duration(roll(1000))*time.Microsecond, errAgain)
							case 1:
								panic("stress")
							case 2:
								if e.N > 0 {
									topics[roll(3)].Publish(ctx, event{e.Key, e.N - 1})
								}
							}
							return nil
						}, bus.Lanes(1+roll(3)), bus.Mailbox(1+roll(3), bus.Policy(roll(4))), bus.PanicBudget(roll(20), time.Second))
						switch {
						case errors.Is(err, bus.ErrClosed):
							return
						case errors.Is(err, bus.ErrDuplicateSubscription):
							continue
						case err != nil:
							t.Error(err)
							return
						}
						mu.Lock()
						subs = append(subs, s)
						mu.Unlock()
						switch roll(4) {
						case 0:
							ctx, cancel := context.WithTimeout(context.Background(), time.Duration(roll(2000))*time.Microsecond)
							s.Drain(ctx)
							cancel()
						case 1:
							s.Pause()
							time.Sleep(time.Duration(roll(500)) * time.Microsecond)
							s.Resume()
						case 2:
							ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
							s.Replay(ctx, nil)
							cancel()
						}
					}
				})
				wg.Go(func() {
					for i := range 200 {
						ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
						err := topics[roll(3)].Publish(ctx, event{fmt.Sprint("k", roll(5)), i % 4})
						cancel()
						if errors.Is(err, bus.ErrClosed) {
							return
						}
						time.Sleep(time.Duration(roll(100)) * time.Microsecond)
					}
				})
			}
			time.Sleep(time.Duration(roll(30_000)) * time.Microsecond)
			if roll(2) == 0 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				if err := b.Shutdown(ctx); err != nil {
					t.Errorf("seed %d: shutdown: %v", seed, err)
				}
				cancel()
			} else if err := b.Close(); err != nil {
				t.Errorf("seed %d: close: %v", seed, err)
			}
			wg.Wait()
			for _, s := range subs {
				if st := stats(t, s); st.Pending() != 0 || !isDone(s) {
					t.Errorf("seed %d: %s/%s done %v: %v", seed, s.Topic(), s.Name(), isDone(s), st)
				}
			}
		})
		if t.Failed() {
			return
		}
	}
}
