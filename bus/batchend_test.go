package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// A batch that a Shutdown cuts off in the middle: what entered a mailbox is
// handled, and the error names the rest exactly. Sequence to meet: the batch
// puts events, the state of the bus changes, the batch puts no more and returns.
func TestBatchCutOffByShutdown(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
			s := subscribe(t, topic, "s", ignore[int], bus.Mailbox(1<<20, bus.Block))
			events := make([]int, 50_000)
			start := make(chan struct{})
			got := make(chan error, 1)
			go func() {
				close(start)
				got <- topic.PublishBatch(t.Context(), events)
			}()
			<-start
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := b.Shutdown(ctx); err != nil {
				t.Errorf("shutdown: %v", err)
			}
			err := <-got
			entered := len(events)
			var be *bus.BatchError
			if errors.As(err, &be) {
				entered -= len(be.Failed)
			}
			if st := stats(t, s); st.Handled != uint64(entered) {
				t.Errorf("%d events entered: %v", entered, st)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// Drops are logged also when the batch that caused them is given up.
func TestBatchThatGivesUpReportsDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		b := newBus(t, bus.Config{Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		dropper, _, release := blocked(t, topic, "dropper", bus.Mailbox(1, bus.DropNewest))
		defer release()
		_, _, releaseBlocker := blocked(t, topic, "blocker", bus.Mailbox(4, bus.Block))
		defer releaseBlocker()
		publish(t, topic, 0)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := topic.PublishBatch(ctx, []int{1, 2, 3, 4, 5}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		if st := stats(t, dropper); st.Dropped != 3 {
			t.Fatalf("%v", st)
		}
		if n := logs.FilterMessageSnippet("dropped").Len(); n == 0 {
			t.Error("3 events were dropped and nothing was logged")
		}
	})
}
