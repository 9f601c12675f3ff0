package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// However a handler behaves, other topics don't notice: not in what they
// handle, and not in time.
func TestOtherTopicsDoNotNotice(t *testing.T) {
	for _, broker := range []bool{false, true} {
		for name, handler := range map[string]func(context.Context, int) error{
			"sleeps":  func(context.Context, int) error { time.Sleep(time.Hour); return nil },
			"hangs":   func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() },
			"panics":  func(context.Context, int) error { panic("always") },
			"fails":   func(context.Context, int) error { return errors.New("always") },
			"retries": func(context.Context, int) error { return bus.RetryAfter(time.Hour, errAgain) },
			"snoozes": func(context.Context, int) error { return bus.Snooze(time.Hour) },
		} {
			t.Run(fmt.Sprint(name, " broker ", broker), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := bus.Config{}
					if broker {
						cfg.Transport = memory.NewBroker().Connect()
					}
					b, err := bus.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					bad := newTopic(t, b, bus.TopicConfig[int]{Name: "bad"})
					good := newTopic(t, b, bus.TopicConfig[int]{Name: "good"})
					subscribe(t, bad, "s", handler, bus.Mailbox(1, bus.Block))
					s := subscribe(t, good, "s", ignore[int], bus.Mailbox(1, bus.Block))
					stop := make(chan struct{})
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						for i := range 1000 {
							ctx, cancel := context.WithTimeout(t.Context(), time.Second)
							bad.Publish(ctx, i)
							cancel()
							select {
							case <-stop:
								return
							default:
							}
						}
					}()
					began := time.Now()
					for i := range 1000 {
						publish(t, good, i)
					}
					synctest.Wait()
					// Virtual time passes only while all wait: for ignore, nobody has to.
					if d := time.Since(began); d > time.Second {
						t.Errorf("1,000 events took %v", d)
					}
					if st := stats(t, s); st.Handled != 1000 {
						t.Errorf("%v", st)
					}
					close(stop)
					<-ended
					b.Close() // names the handler that sleeps
					time.Sleep(2 * time.Hour)
				})
			})
		}
	}
}

// On its own topic a subscription that hangs holds up publishers only with the
// policy Block, and refuses only with Fail; another subscription gets whatever
// was published.
func TestOtherSubscriptionsAsThePolicySays(t *testing.T) {
	for _, broker := range []bool{false, true} {
		for _, tc := range []struct {
			policy bus.Policy
			err    error // of the third event, in-process
		}{
			{bus.Block, context.DeadlineExceeded},
			{bus.DropOldest, nil},
			{bus.DropNewest, nil},
			{bus.Fail, bus.ErrMailboxFull},
		} {
			t.Run(fmt.Sprint(tc.policy, " broker ", broker), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := bus.Config{}
					if broker {
						cfg.Transport = memory.NewBroker().Connect()
						tc.err = nil // nobody can hold up or refuse a broker
					}
					b := newBus(t, cfg)
					topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
					stuck, _, release := blocked(t, topic, "stuck", bus.Mailbox(1, tc.policy))
					defer release()
					var got list[int]
					subscribe(t, topic, "free", func(_ context.Context, n int) error { got.add(n); return nil })
					publish(t, topic, 1)
					synctest.Wait()
					publish(t, topic, 2)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					began := time.Now()
					err := topic.Publish(ctx, 3)
					if !errors.Is(err, tc.err) {
						t.Errorf("%v, want %v", err, tc.err)
					}
					if d := time.Since(began); d > 0 != (tc.err == context.DeadlineExceeded) {
						t.Errorf("held up for %v", d)
					}
					synctest.Wait()
					want := []int{1, 2, 3}
					if tc.err != nil {
						want = want[:2]
					}
					got.require(t, "the free subscription got", want...)
					stats(t, stuck)
				})
			})
		}
	}
}

// A panicking or failing subscription takes nothing from its neighbours.
func TestNeighboursOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		panics := subscribe(t, topic, "panics", func(context.Context, int) error { panic("always") }, bus.PanicBudget(50, time.Hour))
		fails := subscribe(t, topic, "fails", func(context.Context, int) error { return errBad })
		exits := subscribe(t, topic, "retries", func(context.Context, int) error { return bus.RetryAfter(time.Millisecond, errAgain) }, bus.MaxDeferred(1))
		var got list[int]
		good := subscribe(t, topic, "good", func(_ context.Context, n int) error { got.add(n); return nil })
		publish(t, topic, span(1, 200)...)
		time.Sleep(time.Second)
		got.require(t, "events", span(1, 200)...)
		if st := stats(t, panics); !isDone(panics) || st.Panicked != 51 {
			t.Errorf("%v", st)
		}
		if st := stats(t, fails); st.DeadLettered != 200 {
			t.Errorf("%v", st)
		}
		if st := stats(t, exits); st.Deferred+st.Running != 1 || st.Queued != 199 {
			t.Errorf("%v", st)
		}
		if isDone(good) {
			t.Error("done")
		}
	})
}

// An event without a key may go to any lane: its publisher must not wait for
// the one lane that hangs while another has room.
func TestUnkeyedPublisherTakesAnyLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		gate := make(chan struct{})
		defer close(gate)
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if n == 0 {
				<-gate
			}
			return nil
		}, bus.Lanes(2), bus.Mailbox(1, bus.Block))
		publish(t, topic, 0)
		synctest.Wait()
		s.Pause()
		publish(t, topic, 1, 2) // each lane has one waiting
		got := make(chan error, 4)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for i := range 4 { // these find both lanes full
			go func() { got <- topic.Publish(ctx, 3+i) }()
			synctest.Wait()
		}
		s.Resume()
		for range 4 {
			if err := <-got; err != nil {
				t.Errorf("the free lane handled all it had, and yet: %v", err)
			}
		}
		stats(t, s)
	})
}
