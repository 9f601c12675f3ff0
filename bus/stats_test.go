package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// Depth and high-water mark, of one lane and of many, of every kind of mailbox.
func TestStatsTellDepth(t *testing.T) {
	for _, policy := range []bus.Policy{bus.Block, bus.DropOldest, bus.DropNewest, bus.Fail, bus.KeepLatest} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				s := subscribe(t, topic, "s", ignore[event], bus.Lanes(2), bus.Mailbox(8, policy))
				s.Pause()
				publish(t, topic, event{"", 1}, event{"", 2}, event{"", 3}, event{"", 4}, event{"", 5})
				if st := stats(t, s); st.Queued != 5 || st.Deepest != 3 || st.HighWater != 3 {
					t.Errorf("%v, deepest %d, high water %d", st, st.Deepest, st.HighWater)
				}
				s.Resume()
				synctest.Wait()
				if st := stats(t, s); st.Queued != 0 || st.Deepest != 0 || st.HighWater != 3 {
					t.Errorf("%v, deepest %d, high water %d", st, st.Deepest, st.HighWater)
				}
			})
		})
	}
}

// A mailbox that was full shows it, though nobody looked at the time.
func TestStatsTellThatMailboxWasFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", ignore[int], bus.Mailbox(3, bus.DropNewest))
		s.Pause()
		publish(t, topic, 1, 2, 3, 4)
		s.Resume()
		synctest.Wait()
		if st := stats(t, s); st.HighWater != 3 || st.Deepest != 0 {
			t.Errorf("deepest %d, high water %d", st.Deepest, st.HighWater)
		}
	})
}

// Slow handlers are all timed, batches as a whole.
func TestStatsTellHandlingTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		single := subscribe(t, topic, "single", func(_ context.Context, n int) error {
			time.Sleep(time.Duration(n) * time.Millisecond)
			return nil
		})
		batch := subscribeBatch(t, topic, "batch", func(context.Context, []bus.Message[int]) error {
			time.Sleep(time.Second)
			return nil
		}, bus.BatchSize(50))
		if h := single.Stats().Handling; h.Count() != 0 || h.Quantile(0.5) != 0 {
			t.Errorf("%d timed before the first", h.Count())
		}
		batch.Pause()
		for n := range 100 {
			publish(t, topic, n+1)
		}
		batch.Resume()
		time.Sleep(time.Minute)
		h := single.Stats().Handling
		if q := h.Quantile(0.5); h.Count() != 100 || q < 33*time.Millisecond || q > 75*time.Millisecond {
			t.Errorf("%d timed, the median is %v", h.Count(), q)
		}
		h = batch.Stats().Handling
		if q := h.Quantile(0.5); h.Count() != 2 || q < 600*time.Millisecond || q > 1500*time.Millisecond {
			t.Errorf("%d timed, the median is %v", h.Count(), q)
		}
	})
}
