package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// subscribeBatch collects batches as lists of values.
func subscribeBatch[T any](t testing.TB, topic *bus.Topic[T], name string, h func(context.Context, []bus.Message[T]) error, opts ...bus.BatchOption) *bus.Subscription {
	t.Helper()
	s, err := topic.SubscribeBatch(context.Background(), name, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func eventsOf[T any](batch []bus.Message[T]) []T {
	vs := make([]T, len(batch))
	for i, m := range batch {
		vs[i] = m.Value
	}
	return vs
}

// collect is a handler that keeps the values of each batch.
func collect[T any](got *list[[]T]) func(context.Context, []bus.Message[T]) error {
	return func(_ context.Context, batch []bus.Message[T]) error {
		got.add(eventsOf(batch))
		return nil
	}
}

func ints(from, to int) (all []int) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// Without a linger whatever waits is taken at once, up to BatchSize.
func TestBatchTakesWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var got list[[]int]
		s := subscribeBatch(t, topic, "s", collect(&got), bus.BatchSize(4))
		s.Pause()
		publish(t, topic, ints(1, 10)...)
		s.Resume()
		synctest.Wait()
		got.require(t, "batches", ints(1, 4), ints(5, 8), ints(9, 10))
		if st := stats(t, s); st.Handled != 10 {
			t.Errorf("%v", st)
		}
	})
}

// A batch is handled when it is full, or when the linger has passed since its first
// event.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		began := time.Now()
		var got list[[]int]
		var at list[time.Duration]
		s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[int]) error {
			got.add(eventsOf(batch))
			at.add(time.Since(began))
			return nil
		}, bus.BatchSize(3), bus.BatchLinger(time.Second))
		publish(t, topic, 1)
		time.Sleep(600 * time.Millisecond)
		publish(t, topic, 2)
		synctest.Wait()
		if st := stats(t, s); st.Queued != 2 || st.Pending() != 2 {
			t.Errorf("lingering: %v", st)
		}
		time.Sleep(900 * time.Millisecond) // 1.5 s
		publish(t, topic, 3, 4, 5)         // full at once
		time.Sleep(500 * time.Millisecond) // 2 s
		publish(t, topic, 6)
		time.Sleep(2 * time.Second)
		got.require(t, "batches", ints(1, 2), ints(3, 5), ints(6, 6))
		at.require(t, "times", time.Second, 1500*time.Millisecond, 3*time.Second)
	})
}

// A mailbox that is full is handed over whatever the linger.
func TestLingerEndsWithFullMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var got list[[]int]
		subscribeBatch(t, topic, "s", collect(&got), bus.Mailbox(3, bus.Block), bus.BatchLinger(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := topic.PublishBatch(ctx, ints(1, 7)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		got.require(t, "batches", ints(1, 3), ints(4, 6))
	})
}

// Whoever ends the subscription in order has it linger no more; Close abandons.
func TestLingerEndsWithSubscription(t *testing.T) {
	for _, ending := range []string{"drain", "shutdown", "paused drain", "close"} {
		t.Run(ending, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				var got list[[]int]
				s := subscribeBatch(t, topic, "s", collect(&got), bus.BatchLinger(time.Hour))
				publish(t, topic, 1, 2)
				synctest.Wait()
				began := time.Now()
				switch ending {
				case "paused drain":
					s.Pause()
					synctest.Wait()
					fallthrough
				case "drain":
					if err := s.Drain(t.Context()); err != nil {
						t.Error(err)
					}
				case "shutdown":
					shutdown(t, b)
				case "close":
					if err := b.Close(); err != nil {
						t.Error(err)
					}
					if st := stats(t, s); st.Abandoned != 2 || st.Accepted != 2 {
						t.Errorf("%v", st)
					}
					return
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("it took %v", d)
				}
				got.require(t, "batches", ints(1, 2))
			})
		})
	}
}

// A pause holds back a batch whose linger has passed.
func TestPauseWhileLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var got list[[]int]
		s := subscribeBatch(t, topic, "s", collect(&got), bus.BatchSize(3), bus.BatchLinger(time.Second))
		publish(t, topic, 1)
		synctest.Wait()
		s.Pause()
		time.Sleep(time.Minute)
		publish(t, topic, 2, 3)
		synctest.Wait()
		got.require(t, "while paused")
		s.Resume()
		synctest.Wait()
		got.require(t, "after", ints(1, 3))
	})
}

// What a batch handler returns, for a batch of four unkeyed events.
func TestBatchResults(t *testing.T) {
	cause := errors.New("cause")
	for _, tc := range []struct {
		name   string
		err    error
		ledger string
		calls  int
	}{
		{"nil", nil, "handled 4 discarded 0 dead 0 failed 0 retried 0", 1},
		{"error", cause, "handled 0 discarded 0 dead 4 failed 4 retried 0", 1},
		{"discard", bus.Discard(cause), "handled 0 discarded 4 dead 0 failed 4 retried 0", 1},
		{"retry", bus.RetryAfter(time.Second, cause), "handled 4 discarded 0 dead 0 failed 4 retried 4", 2},
		{"snooze", bus.Snooze(time.Second), "handled 4 discarded 0 dead 0 failed 0 retried 0", 2},
		{"one", &bus.BatchError{Failed: []bus.IndexedError{{Index: 1, Err: cause}}},
			"handled 3 discarded 0 dead 1 failed 1 retried 0", 1},
		{"wrapped", fmt.Errorf("wrapped: %w", &bus.BatchError{Total: 4, Failed: []bus.IndexedError{{Index: 1, Err: cause}}}),
			"handled 3 discarded 0 dead 1 failed 1 retried 0", 1},
		{"several", &bus.BatchError{Failed: []bus.IndexedError{
			{Index: 3, Err: bus.Discard(cause)}, {Index: 0, Err: bus.RetryAfter(time.Second, cause)}, {Index: 2, Err: nil}}},
			"handled 2 discarded 1 dead 1 failed 3 retried 1", 2},
		{"twice named", &bus.BatchError{Failed: []bus.IndexedError{{Index: 0, Err: bus.Discard(cause)}, {Index: 0, Err: cause}}},
			"handled 3 discarded 1 dead 0 failed 1 retried 0", 1},
		{"verdict on a BatchError", bus.RetryAfter(time.Second, &bus.BatchError{Failed: []bus.IndexedError{{Index: 1, Err: bus.Discard(cause)}}}),
			"handled 4 discarded 0 dead 0 failed 4 retried 4", 2},
		{"beyond", &bus.BatchError{Failed: []bus.IndexedError{{Index: 4, Err: bus.Discard(cause)}}},
			"handled 0 discarded 0 dead 4 failed 4 retried 0", 1},
		{"negative", &bus.BatchError{Failed: []bus.IndexedError{{Index: -1, Err: bus.Discard(cause)}}},
			"handled 0 discarded 0 dead 4 failed 4 retried 0", 1},
		{"of another", &bus.BatchError{Total: 5, Failed: []bus.IndexedError{{Index: 1, Err: bus.Discard(cause)}}},
			"handled 0 discarded 0 dead 4 failed 4 retried 0", 1},
		{"of nobody", &bus.BatchError{}, "handled 0 discarded 0 dead 4 failed 4 retried 0", 1},
		{"joined", errors.Join(cause, &bus.BatchError{Failed: []bus.IndexedError{{Index: 1, Err: bus.Discard(cause)}}}),
			"handled 0 discarded 0 dead 4 failed 4 retried 0", 1},
	} {
		for _, use := range [][]bus.Middleware{nil, {passThrough, passThrough}} {
			t.Run(fmt.Sprintf("%s/%d middleware", tc.name, len(use)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBus(t, bus.Config{})
					topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
					calls := 0
					s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[int]) error {
						if calls++; calls > 1 {
							return nil
						}
						return tc.err
					}, bus.Use(use...))
					s.Pause()
					publish(t, topic, 1, 2, 3, 4)
					s.Resume()
					time.Sleep(time.Minute)
					st := stats(t, s)
					got := fmt.Sprintf("handled %d discarded %d dead %d failed %d retried %d", st.Handled, st.Discarded, st.DeadLettered, st.Failed, st.Retried)
					if got != tc.ledger || calls != tc.calls {
						t.Errorf("%s, %d calls, want %s, %d calls", got, calls, tc.ledger, tc.calls)
					}
					for _, l := range s.DeadLetters() {
						if v, ok := bus.Value[int](l.Delivery); !ok || l.Attempts != 1 || l.Err == nil || *v < 1 {
							t.Errorf("%+v", l)
						}
					}
				})
			})
		}
	}
}

// The error of a PublishBatch of the batch is about the batch.
func TestBatchRepublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		fan := newTopic(t, b, bus.TopicConfig[int]{Name: "in"})
		out := newTopic(t, b, bus.TopicConfig[int]{Name: "out"})
		full := subscribe(t, out, "full", ignore[int], bus.Mailbox(3, bus.Fail))
		full.Pause()
		s := subscribeBatch(t, fan, "s", func(ctx context.Context, batch []bus.Message[int]) error {
			return out.PublishBatch(ctx, eventsOf(batch))
		})
		s.Pause()
		publish(t, fan, ints(1, 5)...)
		s.Resume()
		synctest.Wait()
		if st := stats(t, s); st.Handled != 3 || st.DeadLettered != 2 {
			t.Errorf("%v", st)
		}
	})
}

// MaxDeferred bounds what a failing batch leaves behind.
func TestBatchKeepsToMaxParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribeBatch(t, topic, "s", func(context.Context, []bus.Message[int]) error {
			return bus.RetryAfter(time.Minute, errAgain)
		}, bus.BatchSize(4), bus.MaxDeferred(6))
		publish(t, topic, ints(1, 20)...)
		synctest.Wait()
		if st := stats(t, s); st.Deferred != 6 || st.Queued != 14 {
			t.Errorf("%v", st)
		}
	})
}

// Off a broker: an event that can't be decoded does not enter the batch.
func TestBatchOffBroker(t *testing.T) {
	for _, use := range [][]bus.Middleware{nil, {passThrough}} {
		synctest.Test(t, func(t *testing.T) {
			broker := memory.NewBroker()
			b := newBus(t, bus.Config{Transport: broker.Connect()})
			topic := newTopic(t, b, bus.TopicConfig[doc]{Name: "docs", Key: func(d doc) string { return d.Name }})
			var got list[[]string]
			s := subscribeBatch(t, topic, "s", func(_ context.Context, batch []bus.Message[doc]) error {
				var names []string
				for _, m := range batch {
					names = append(names, m.Key)
				}
				got.add(names)
				return nil
			}, bus.Use(use...), bus.Mailbox(10, bus.Block))
			s.Pause()
			publish(t, topic, doc{Name: "a"})
			foreignClient(t, broker, &transport.Envelope{Topic: "docs", Payload: []byte(`{`)}, &transport.Envelope{Topic: "docs", Payload: []byte(`{"Name":"b"}`)})
			time.Sleep(time.Second)
			s.Resume()
			synctest.Wait()
			got.require(t, "batches", []string{"a", "b"})
			if st := stats(t, s); st.Handled != 2 || st.DeadLettered != 1 {
				t.Errorf("%v", st)
			}
		})
	}
}

func TestBatchOptionsAreChecked(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	none := func(context.Context, []bus.Message[int]) error { return nil }
	for _, opts := range [][]bus.BatchOption{
		{bus.BatchSize(0)}, {bus.BatchSize(-1)}, {bus.BatchSize(10_001), bus.Mailbox(1<<20, bus.Block), bus.MaxDeferred(1 << 20)},
		{bus.BatchSize(10), bus.Mailbox(9, bus.Block)}, {bus.BatchSize(10), bus.MaxDeferred(9)}, {bus.BatchLinger(-1)}, {nil},
	} {
		_, err := topic.SubscribeBatch(t.Context(), "s", none, opts...)
		requireError(t, err, bus.ErrInvalidConfig)
	}
	_, err := topic.SubscribeBatch(t.Context(), "s", nil)
	requireError(t, err, bus.ErrNilHandler)
}
