package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// blocked makes a subscription whose handler waits for release, with one event
// running.
func blocked(t *testing.T, topic *bus.Topic[int], name string, opts ...bus.SubscribeOption) (s *bus.Subscription, seen func() []int, release func()) {
	t.Helper()
	var mu sync.Mutex
	var got []int
	gate := make(chan struct{})
	s = subscribe(t, topic, name, func(_ context.Context, n int) error {
		mu.Lock()
		got = append(got, n)
		mu.Unlock()
		<-gate
		return nil
	}, opts...)
	return s, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return append([]int(nil), got...)
	}, sync.OnceFunc(func() { close(gate) })
}

// Each policy with a mailbox of 2 behind a handler that is busy with event 0.
func TestPolicies(t *testing.T) {
	for _, tc := range []struct {
		policy  bus.Policy
		handled []int
		dropped uint64
		err     error
	}{
		{bus.Block, []int{0, 1, 2}, 0, context.DeadlineExceeded},
		{bus.DropOldest, []int{0, 2, 3}, 1, nil},
		{bus.DropNewest, []int{0, 1, 2}, 1, nil},
		{bus.Fail, []int{0, 1, 2}, 0, bus.ErrMailboxFull},
	} {
		t.Run(tc.policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				s, seen, release := blocked(t, topic, "s", bus.Mailbox(2, tc.policy))
				defer release()
				other := subscribe(t, topic, "other", ignore[int])
				publish(t, topic, 0)
				synctest.Wait() // 0 runs
				publish(t, topic, 1, 2)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := topic.Publish(ctx, 3); !errors.Is(err, tc.err) {
					t.Errorf("publish to a full mailbox: %v, want %v", err, tc.err)
				}
				if err := topic.PublishBatch(ctx, []int{}); err != nil {
					t.Errorf("an empty batch: %v", err)
				}
				release()
				if err := b.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(seen()) != fmt.Sprint(tc.handled) {
					t.Errorf("handled %v, want %v", seen(), tc.handled)
				}
				if st := s.Stats(); st.Dropped != tc.dropped || !st.Balanced() {
					t.Errorf("%v", st)
				}
				// What gave up or was refused entered no mailbox at all.
				want := uint64(4)
				if tc.err != nil {
					want = 3
				}
				if st := other.Stats(); st.Handled != want {
					t.Errorf("the other subscription handled %d, want %d", st.Handled, want)
				}
			})
		})
	}
}

// A publisher gets the first free place of a slow handler within impatience,
// though it hopes for many at once.
func TestBlockedPublisherIsNotHeldForAWholeMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "slow", func(context.Context, int) error { time.Sleep(time.Second); return nil }, bus.Mailbox(100, bus.Block))
		publish(t, topic, 0)
		synctest.Wait()
		for i := range 100 {
			publish(t, topic, i)
		}
		start := time.Now()
		publish(t, topic, 1)
		if d := time.Since(start); d > time.Second {
			t.Errorf("waited %v for one place, the handler takes 1 s an event", d)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Publishers that wait are told when the bus ends, when the subscription ends,
// and when their context does, with its cause.
func TestBlockedPublisherIsReleased(t *testing.T) {
	cause := errors.New("had enough")
	for _, tc := range []struct {
		name string
		end  func(b *bus.Bus, s *bus.Subscription, cancel context.CancelCauseFunc)
		want error
	}{
		{"close", func(b *bus.Bus, _ *bus.Subscription, _ context.CancelCauseFunc) { go b.Close() }, bus.ErrClosed},
		{"shutdown", func(b *bus.Bus, _ *bus.Subscription, _ context.CancelCauseFunc) { go b.Shutdown(context.Background()) }, bus.ErrClosed},
		{"drain", func(_ *bus.Bus, s *bus.Subscription, _ context.CancelCauseFunc) { go s.Drain(context.Background()) }, nil},
		{"context", func(_ *bus.Bus, _ *bus.Subscription, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				s, _, release := blocked(t, topic, "s", bus.Mailbox(1, bus.Block))
				defer release()
				publish(t, topic, 0)
				synctest.Wait()
				publish(t, topic, 1)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				got := make(chan error, 3)
				for range 3 {
					go func() { got <- topic.Publish(ctx, 2) }()
				}
				synctest.Wait()
				tc.end(b, s, cancel)
				for range 3 {
					if err := <-got; !errors.Is(err, tc.want) {
						t.Errorf("%v, want %v", err, tc.want)
					}
				}
				release()
				synctest.Wait()
			})
		})
	}
}

// A batch that gives up says from which event on, and the rest went through.
func TestBatchThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s, seen, release := blocked(t, topic, "s", bus.Mailbox(3, bus.Block))
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		publish(t, topic, 0)
		synctest.Wait()
		err := topic.PublishBatch(ctx, []int{1, 2, 3, 4, 5})
		var be *bus.BatchError
		if !errors.As(err, &be) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		if be.Total != 5 || len(be.Failed) != 2 || be.Failed[0].Index != 3 || be.Failed[1].Index != 4 {
			t.Errorf("%+v", be)
		}
		release()
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(seen()) != "[0 1 2 3]" {
			t.Errorf("%v", seen())
		}
	})
}

// ErrMailboxFull befalls single events of a batch, not those behind them.
func TestBatchIntoFailingMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[string]{Name: "n", Key: func(s string) string { return s[:1] }})
		gate := make(chan struct{})
		subscribe(t, topic, "s", func(_ context.Context, v string) error { <-gate; return nil }, bus.Lanes(64), bus.Mailbox(1, bus.Fail))
		defer close(gate)
		publish(t, topic, "a0")
		synctest.Wait()
		batch := []string{"a1", "a2"}
		for k := 'b'; k <= 'z'; k++ {
			batch = append(batch, string(k))
		}
		err := topic.PublishBatch(t.Context(), batch)
		var be *bus.BatchError
		if !errors.As(err, &be) || !errors.Is(err, bus.ErrMailboxFull) {
			t.Fatalf("%v", err)
		}
		// a2 finds a1 in its mailbox; of 25 other keys some have other lanes.
		if be.Failed[0].Index != 1 || len(be.Failed) > 20 {
			t.Errorf("%v", err)
		}
	})
}
