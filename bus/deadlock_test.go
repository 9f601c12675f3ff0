package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// A handler that publishes to its own full mailbox would wait for itself.
func TestPublishToOwnFullMailboxWouldDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "loop"})
		errs := make(chan error, 10)
		s := subscribe(t, topic, "self", func(ctx context.Context, n int) error {
			if n == 0 {
				for range 3 {
					errs <- topic.Publish(ctx, 1)
				}
			}
			return nil
		}, bus.Mailbox(2, bus.Block))
		publish(t, topic, 0)
		for i := range 3 {
			if err := <-errs; i < 2 && err != nil || i == 2 && !errors.Is(err, bus.ErrWouldDeadlock) {
				t.Errorf("publish %d: %v", i, err)
			}
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Handled != 3 {
			t.Errorf("%v", st)
		}
	})
}

// A → B → A: each handler publishes to the other's full mailbox. At least one
// is told, and then everything goes on.
func TestCycleOfHandlersWouldDeadlock(t *testing.T) {
	for _, hops := range []int{2, 3, 5} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			topics := make([]*bus.Topic[int], hops)
			subs := make([]*bus.Subscription, hops)
			for i := range topics {
				topics[i] = newTopic(t, b, bus.TopicConfig[int]{Name: "hop" + string(rune('a'+i))})
			}
			var deadlocks atomic.Int32
			for i := range topics {
				next := topics[(i+1)%hops]
				subs[i] = subscribe(t, topics[i], "s", func(ctx context.Context, ttl int) error {
					time.Sleep(time.Millisecond) // all are full before anyone publishes
					for range 2 {
						if ttl == 0 {
							return nil
						}
						err := next.Publish(ctx, ttl-1)
						if errors.Is(err, bus.ErrWouldDeadlock) {
							deadlocks.Add(1)
							return bus.Discard(err)
						}
						if err != nil {
							return err
						}
					}
					return nil
				}, bus.Mailbox(1, bus.Block))
			}
			for i := range topics {
				publish(t, topics[i], 8, 8)
			}
			if err := b.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if deadlocks.Load() == 0 {
				t.Error("nobody was told of a deadlock")
			}
			for _, s := range subs {
				if st := s.Stats(); st.DeadLettered > 0 || st.Abandoned > 0 || !st.Balanced() {
					t.Errorf("%v", st)
				}
			}
		})
	}
}

// Waiting for a slow subscription that waits for nobody is no deadlock, however
// long it takes.
func TestWaitingInAHandlerIsNoDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		fan := newTopic(t, b, bus.TopicConfig[int]{Name: "in"})
		out := newTopic(t, b, bus.TopicConfig[int]{Name: "out"})
		subscribe(t, fan, "relay", func(ctx context.Context, n int) error { return out.Publish(ctx, n) }, bus.Mailbox(1, bus.Block))
		slow := subscribe(t, out, "slow", func(context.Context, int) error { time.Sleep(time.Minute); return nil }, bus.Mailbox(1, bus.Block))
		for i := range 20 {
			publish(t, fan, i)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := slow.Stats(); st.Handled != 20 {
			t.Errorf("%v", st)
		}
	})
}

func TestWaitingForOneselfWouldDeadlock(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	var s *bus.Subscription
	ready := make(chan struct{})
	got := make(chan error, 2)
	s = subscribe(t, topic, "s", func(ctx context.Context, _ int) error {
		<-ready
		got <- b.Shutdown(ctx)
		got <- s.Drain(ctx)
		return nil
	})
	close(ready)
	publish(t, topic, 1)
	for range 2 {
		if err := <-got; !errors.Is(err, bus.ErrWouldDeadlock) {
			t.Errorf("%v", err)
		}
	}
	publish(t, topic, 2) // the bus is still open
	<-got
	<-got
}
