package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// TestPublishMessages: each event bears its own ID, headers and time, and otherwise those of the options.
func TestPublishMessages(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		b := newBus(t, cfg)
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var got list[string]
		if _, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
			id := m.ID.String()
			if len(id) > 10 {
				id = "of the bus"
			}
			at := ""
			if m.Time.Year() == 2001 {
				at = m.Time.UTC().Format(time.DateOnly)
			}
			got.add(fmt.Sprint(m.Value, " ", id, " ", m.Headers, " ", at))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		day := time.Date(2001, 3, 4, 5, 6, 7, 0, time.UTC)
		var receipt bus.Receipt
		err := topic.PublishMessages(t.Context(), []bus.Outgoing[event]{
			{Value: event{"a", 1}, ID: "row-1", Headers: bus.Headers{}.With("h", "own").With("n", "1"), Time: day},
			{Value: event{"a", 2}},
			{Value: event{"b", 3}, ID: "row-3"},
		}, bus.Header("h", "all"), bus.ReceiptTo(&receipt))
		if err != nil || receipt.Receivers != 1 {
			t.Errorf("%v, %+v", err, receipt)
		}
		if err := topic.PublishMessages(t.Context(), nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		got.require(t, "received", "a1 row-1 map[h:own n:1] 2001-03-04", "a2 of the bus map[h:all] ", "b3 row-3 map[h:all] ")
		shutdown(t, b)
		err = topic.PublishMessages(t.Context(), []bus.Outgoing[event]{{}, {}})
		var be *bus.BatchError
		if !errors.As(err, &be) || be.Total != 2 || len(be.Failed) != 2 || !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// TestPublishMessagesToFull: with the policy Fail only those that find no room are not published, and the error says which.
func TestPublishMessagesToFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		sub := subscribe(t, topic, "s", ignore[int], bus.Mailbox(2, bus.Fail))
		sub.Pause()
		err := topic.PublishMessages(t.Context(), []bus.Outgoing[int]{{Value: 0}, {Value: 1}, {Value: 2}, {Value: 3}})
		var be *bus.BatchError
		if !errors.As(err, &be) || len(be.Failed) != 2 || be.Failed[0].Index != 2 || be.Failed[1].Index != 3 || !errors.Is(err, bus.ErrMailboxFull) {
			t.Errorf("%v", err)
		}
		block := newTopic(t, b, bus.TopicConfig[int]{Name: "block"})
		waits := subscribe(t, block, "s", ignore[int], bus.Mailbox(1, bus.Block))
		waits.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = block.PublishMessages(ctx, []bus.Outgoing[int]{{Value: 0}, {Value: 1}, {Value: 2}})
		if be = nil; !errors.As(err, &be) || len(be.Failed) != 2 || !errors.Is(be.Failed[1].Err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		sub.Resume()
		waits.Resume()
		shutdown(t, b)
		if a, b := stats(t, sub), stats(t, waits); a.Handled != 2 || b.Handled != 1 {
			t.Errorf("%v, %v", a, b)
		}
	})
}
