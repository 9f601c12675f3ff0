package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// A pause holds back attempts that are due, and what is behind them.
func TestPauseWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		began := time.Now()
		var at list[time.Duration]
		s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			at.add(time.Since(began))
			if len(at.get()) == 1 {
				return bus.RetryAfter(time.Second, errAgain)
			}
			return nil
		})
		publish(t, topic, event{"a", 1}, event{"a", 2})
		synctest.Wait()
		s.Pause()
		time.Sleep(time.Minute)
		synctest.Wait()
		at.require(t, "starts while paused", 0)
		if st := stats(t, s); st.Deferred != 2 {
			t.Errorf("%v", st)
		}
		s.Resume()
		synctest.Wait()
		at.require(t, "starts after", 0, time.Minute, time.Minute)
		if st := stats(t, s); st.Handled != 2 {
			t.Errorf("%v", st)
		}
	})
}

// Shutdown and Drain wait for the deferred, however long their delay.
func TestOrderlyEndWaitsForParked(t *testing.T) {
	for _, name := range []string{"shutdown", "drain"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				var attempts int
				s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
					if attempts++; attempts <= 3 {
						return bus.RetryAfter(time.Hour, errAgain)
					}
					return nil
				})
				publish(t, topic, event{"a", 1}, event{"a", 2})
				began := time.Now()
				var err error
				if name == "drain" {
					err = s.Drain(t.Context())
				} else {
					err = b.Shutdown(t.Context())
				}
				if d := time.Since(began); err != nil || d != 3*time.Hour {
					t.Errorf("after %v: %v", d, err)
				}
				if st := stats(t, s); st.Handled != 2 || st.Retried != 3 {
					t.Errorf("%v", st)
				}
			})
		})
	}
}

// An end that does not wait abandons the deferred and says how many; the timer
// that would have run them is gone.
func TestHastyEndAbandonsParked(t *testing.T) {
	for _, name := range []string{"shutdown", "drain", "close"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
				s := subscribe(t, topic, "worker", func(_ context.Context, e event) error { return bus.RetryAfter(time.Hour, errAgain) })
				publish(t, topic, event{"a", 1}, event{"a", 2}, event{"b", 3})
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				switch name {
				case "drain":
					requireError(t, s.Drain(ctx), context.DeadlineExceeded, "jobs", "worker", "3 events abandoned")
				case "shutdown":
					requireError(t, b.Shutdown(ctx), context.DeadlineExceeded, "abandoned 3 events", "jobs/worker 3")
				default:
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				}
				<-s.Done()
				if st := stats(t, s); st.Abandoned != 3 || st.Accepted != 3 || st.Pending() != 0 {
					t.Errorf("%v", st)
				}
				time.Sleep(2 * time.Hour)
				if st := stats(t, s); st.Failed != 2 {
					t.Errorf("a handler ran after the end: %v", st)
				}
			})
		})
	}
}

// A failure that the end of the bus cut short is no verdict on the event: it is
// abandoned, not a dead letter.
func TestFailureDuringCloseAbandons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(ctx context.Context, n int) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		publish(t, topic, 1, 2)
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if st := stats(t, s); st.Abandoned != 2 || st.DeadLettered != 0 {
			t.Errorf("%v", st)
		}
	})
}

// A Key function that panics where the engine needs the key, after a failure:
// the event is a dead letter with that panic, and nothing else is touched.
func TestKeyThatPanics(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []bus.SubscribeOption
	}{{"plain", nil}, {"evicting", []bus.SubscribeOption{bus.Mailbox(10, bus.DropOldest)}}, {"guarded", []bus.SubscribeOption{bus.Use(passThrough)}}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: func(e event) string {
					if e.Key == "bad" {
						panic("no key for this")
					}
					return e.Key
				}})
				failed := map[event]bool{}
				s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
					if e.N < 10 && !failed[e] {
						failed[e] = true
						return bus.RetryAfter(time.Second, errAgain)
					}
					return nil
				}, tc.opts...)
				// The second "bad" meets a lane that has deferred events: there
				// the key is asked for before the handler runs.
				publish(t, topic, event{"bad", 1}, event{"a", 2}, event{"bad", 11}, event{"bad", 3}, event{"a", 12})
				shutdown(t, b)
				st := stats(t, s)
				letters := s.DeadLetters()
				if st.Handled != 3 || st.DeadLettered != 2 || len(letters) != 2 {
					t.Fatalf("%v, %d letters", st, len(letters))
				}
				for i, n := range []int{1, 3} {
					var pe *bus.PanicError
					if !errors.As(letters[i].Err, &pe) || pe.Value != "no key for this" || len(letters[i].Stack) == 0 {
						t.Errorf("letter %d: %v", i, letters[i].Err)
					}
					if v, ok := bus.Value[event](letters[i].Delivery); !ok || v.N != n {
						t.Errorf("letter %d is of %v", i, v)
					}
				}
			})
		})
	}
}

// A Key function that panics when a lane is chosen does so in its publisher,
// and leaves the topic usable.
func TestKeyThatPanicsInPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: func(e event) string {
			if e.Key == "bad" {
				panic("no key for this")
			}
			return e.Key
		}})
		s := subscribe(t, topic, "s", ignore[event], bus.Lanes(4))
		for _, f := range []func(){
			func() { topic.Publish(t.Context(), event{"bad", 1}) },
			func() { topic.PublishBatch(t.Context(), []event{{"a", 1}, {"bad", 1}}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the publisher was not told")
					}
				}()
				f()
			}()
		}
		publish(t, topic, event{"a", 2})
		shutdown(t, b)
		if st := stats(t, s); st.Handled != 1 || st.Accepted != 1 {
			t.Errorf("%v", st)
		}
	})
}

// doc has a field that its encoding leaves out when it is empty: decoding onto
// a used value would keep what is there.
type doc struct {
	Name string
	Tags map[string]bool `json:",omitempty"`
	Note string          `json:",omitempty"`
}

// spoil changes the value in place, as a middleware might.
func spoil(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		if err := d.Decode(nil); err != nil {
			return err
		}
		v, _ := bus.Value[doc](d)
		if v.Note != "" || len(v.Tags) != 0 {
			return bus.DeadLetter(errors.New("the value is not fresh"))
		}
		err := next(ctx, d)
		v.Note, v.Tags = "spoilt", map[string]bool{"spoilt": true}
		return err
	}
}

// Off a transport each attempt decodes afresh: after a retry, after a snooze,
// behind a deferred event and in a replay.
func TestEachAttemptDecodesAfresh(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first error
	}{
		{"retry", bus.RetryAfter(time.Second, errAgain)},
		{"snooze", bus.Snooze(time.Second)},
		{"replay", bus.DeadLetter(errAgain)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{Transport: memory.NewBroker().Connect()})
				topic := newTopic(t, b, bus.TopicConfig[doc]{Name: "docs", Key: func(d doc) string { return d.Name }})
				starts := 0
				s := subscribe(t, topic, "s", func(_ context.Context, d doc) error {
					if starts++; starts == 1 {
						return tc.first
					}
					return nil
				}, bus.Use(spoil))
				publish(t, topic, doc{Name: "a"}, doc{Name: "a"})
				synctest.Wait()
				if tc.name == "replay" {
					if n, err := s.Replay(t.Context(), nil); n != 1 || err != nil {
						t.Fatalf("replayed %d: %v", n, err)
					}
				}
				shutdown(t, b)
				if st := stats(t, s); st.Handled != 2 || starts != 3 {
					t.Errorf("%d starts: %v; %v", starts, st, s.DeadLetters())
				}
			})
		})
	}
}
