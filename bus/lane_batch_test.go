package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// Order within a key: an event behind one that comes again comes again too, though
// the handler did not name it, and each with the right attempt.
func TestBatchKeepsOrderOfKeys(t *testing.T) {
	for _, use := range [][]bus.Middleware{nil, {passThrough}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
			var got list[[]string]
			calls := 0
			s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[event]) error {
				var seen []string
				for _, m := range batch {
					seen = append(seen, fmt.Sprint(m.Value, "#", m.Attempt))
				}
				got.add(seen)
				switch calls++; calls {
				case 1:
					return &bus.BatchError{Failed: []bus.IndexedError{{Index: 1, Err: bus.RetryAfter(time.Second, errAgain)}}}
				case 3:
					return bus.RetryAfter(time.Second, errAgain)
				}
				return nil
			}, bus.Use(use...), bus.BatchSize(6))
			s.Pause()
			publish(t, topic, event{"a", 1}, event{"b", 1}, event{"a", 2}, event{"b", 2}, event{"b", 3}, event{"c", 1}, event{"b", 4}, event{"c", 2})
			s.Resume()
			time.Sleep(time.Minute)
			// b 4 came while its key was deferred: it fell in behind.
			got.require(t, "batches",
				[]string{"a1#1", "b1#1", "a2#1", "b2#1", "b3#1", "c1#1"},
				[]string{"c2#1"},
				[]string{"b1#2"},
				[]string{"b1#3"},
				[]string{"b2#1", "b3#1", "b4#1"})
			if st := stats(t, s); st.Handled != 8 || st.Retried != 2 || st.Snoozed != 2 {
				t.Errorf("%v", st)
			}
		})
	}
}

// A batch that fails as a whole comes again in order, and its events keep their
// attempts.
func TestBatchFailsAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var got list[[]string]
		calls := 0
		s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[event]) error {
			var seen []string
			for _, m := range batch {
				seen = append(seen, fmt.Sprint(m.Value, "#", m.Attempt))
			}
			got.add(seen)
			if calls++; calls == 1 {
				return bus.RetryAfter(time.Second, errAgain)
			}
			return nil
		})
		s.Pause()
		publish(t, topic, event{"a", 1}, event{"b", 1}, event{"a", 2}, event{"b", 2})
		s.Resume()
		time.Sleep(time.Minute)
		got.require(t, "batches",
			[]string{"a1#1", "b1#1", "a2#1", "b2#1"},
			[]string{"a1#2", "b1#2"},
			[]string{"a2#2", "b2#2"})
		if st := stats(t, s); st.Handled != 4 || st.Retried != 4 || st.Failed != 4 {
			t.Errorf("%v", st)
		}
	})
}

// A panic is a failed attempt of all, and one panic for the budget. Goexit too.
func TestBatchPanics(t *testing.T) {
	for _, end := range []func(){func() { panic("at the handler") }, runtime.Goexit} {
		for _, use := range [][]bus.Middleware{nil, {passThrough}} {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				calls := 0
				s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[int]) error {
					if calls++; calls <= 2 {
						end()
					}
					return nil
				}, bus.Use(use...), bus.BatchSize(5), bus.PanicBudget(2, time.Minute))
				s.Pause()
				publish(t, topic, ints(1, 20)...)
				s.Resume()
				time.Sleep(time.Minute)
				if st := stats(t, s); st.Handled != 10 || st.DeadLettered != 10 || st.Panicked != 10 || st.Failed != 10 {
					t.Errorf("%v, %d panicked; %v", st, st.Panicked, s.Err())
				}
			})
		}
	}
}

// A callback for dead letters that ends its goroutine is called once for each event
// all the same.
func TestBatchOnDeadLetterGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var letters list[int]
		s := subscribeBatch(t, topic, "s", func(context.Context, []bus.Message[int]) error { return errAgain },
			bus.OnDeadLetter(func(_ context.Context, l bus.Letter) {
				v, _ := bus.Value[int](l.Delivery)
				letters.add(*v)
				runtime.Goexit()
			}))
		publish(t, topic, 1, 2, 3)
		synctest.Wait()
		letters.require(t, "letters", 1, 2, 3)
		if st := stats(t, s); st.DeadLettered != 3 || st.Pending() != 0 {
			t.Errorf("%v", st)
		}
	})
}

// The messages are the handler's to keep; the slice is not.
func TestBatchMessagesMayBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var kept []bus.Message[event]
		s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[event]) error {
			kept = append(kept, batch...)
			return nil
		}, bus.BatchSize(3))
		for n := range 10 {
			publish(t, topic, event{fmt.Sprint("k", n%3), n})
		}
		shutdown(t, b)
		for i, m := range kept {
			if m.Value.N != i || m.Key != m.Value.Key || m.Topic != "n" || m.ID.IsZero() || m.Attempt != 1 {
				t.Errorf("%d: %+v", i, m)
			}
		}
		if st := stats(t, s); st.Handled != 10 {
			t.Errorf("%v", st)
		}
	})
}

// The chains are nested: in order on the way in, and back.
func TestBatchChainsAreNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var steps list[string]
		say := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				v, _ := bus.Value[int](d)
				n := *v
				steps.add(fmt.Sprint("in ", n))
				if n == 2 {
					return bus.Discard(errors.New("rejected"))
				}
				err := next(context.WithValue(ctx, key(n), n), d)
				steps.add(fmt.Sprint("out ", *v))
				return err
			}
		}
		s := subscribeBatch(t, topic, "s", func(ctx context.Context, batch []bus.Message[int]) error {
			steps.add(fmt.Sprint("handle ", eventsOf(batch), " ", ctx.Value(key(1)), ctx.Value(key(2)), ctx.Value(key(3))))
			return nil
		}, bus.Use(say))
		s.Pause()
		publish(t, topic, 1, 2, 3)
		s.Resume()
		synctest.Wait()
		steps.require(t, "steps", "in 1", "in 2", "in 3", "handle [1 3] 1 <nil> 3", "out 3", "out 1")
		if st := stats(t, s); st.Handled != 2 || st.Discarded != 1 {
			t.Errorf("%v", st)
		}
	})
}

type key int

// A middleware that panics, before or after the batch, fails its own event only; so
// does one that turns an event away for later, and those of its key wait with it.
func TestBatchMiddlewareFailsItsEventOnly(t *testing.T) {
	for _, when := range []string{"before", "after", "later"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				var got list[[]event]
				snoozed := false
				incidents := func(next bus.Handler) bus.Handler {
					return func(ctx context.Context, d *bus.Delivery) error {
						v, _ := bus.Value[event](d)
						bad := v.N == 2
						switch {
						case bad && when == "before":
							panic("before")
						case bad && when == "later" && !snoozed:
							snoozed = true
							return bus.Snooze(time.Second)
						}
						err := next(ctx, d)
						if bad && when == "after" {
							panic("after")
						}
						return err
					}
				}
				s := subscribeBatch(t, topic, "s", collect(&got), bus.Use(incidents))
				s.Pause()
				publish(t, topic, event{"a", 1}, event{"b", 2}, event{"a", 3}, event{"b", 4})
				s.Resume()
				time.Sleep(time.Minute)
				st := stats(t, s)
				switch when {
				case "before":
					got.require(t, "batches", []event{{"a", 1}, {"a", 3}, {"b", 4}})
				case "after":
					got.require(t, "batches", []event{{"a", 1}, {"b", 2}, {"a", 3}, {"b", 4}})
				case "later":
					got.require(t, "batches", []event{{"a", 1}, {"a", 3}}, []event{{"b", 2}, {"b", 4}})
					if st.Handled != 4 {
						t.Errorf("%v", st)
					}
					return
				}
				if st.Handled != 3 || st.DeadLettered != 1 || st.Panicked != 1 {
					t.Errorf("%v", st)
				}
			})
		})
	}
}

// A middleware that calls next again has the handler called with its event alone.
func TestBatchNextAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var got list[[]int]
		twice := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if err := next(ctx, d); err == nil {
					return nil
				}
				return next(ctx, d)
			}
		}
		s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[int]) error {
			got.add(eventsOf(batch))
			if i := slices.Index(eventsOf(batch), 2); i >= 0 && len(batch) > 1 {
				return &bus.BatchError{Failed: []bus.IndexedError{{Index: i, Err: errAgain}}}
			}
			return nil
		}, bus.Use(twice))
		s.Pause()
		publish(t, topic, 1, 2, 3)
		s.Resume()
		synctest.Wait()
		got.require(t, "batches", ints(1, 3), ints(2, 2))
		if st := stats(t, s); st.Handled != 3 {
			t.Errorf("%v", st)
		}
	})
}
