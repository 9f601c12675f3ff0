package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

func TestReceiptInProcess(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	r := bus.Receipt{Receivers: 7, Repeated: true}
	publish := func(want bus.Receipt) {
		t.Helper()
		r = bus.Receipt{Receivers: 7, Repeated: true}
		if err := topic.Publish(t.Context(), 1, bus.ReceiptTo(&r)); err != nil || r != want {
			t.Errorf("Publish: %v, %+v, want %+v", err, r, want)
		}
		r = bus.Receipt{Receivers: 7, Repeated: true}
		if err := topic.PublishBatch(t.Context(), make([]int, 200), bus.ReceiptTo(&r)); err != nil || r != want {
			t.Errorf("PublishBatch: %v, %+v, want %+v", err, r, want)
		}
	}
	publish(bus.Receipt{})
	subscribe(t, topic, "a", ignore[int])
	publish(bus.Receipt{Receivers: 1})
	last := subscribe(t, topic, "b", ignore[int], bus.Lanes(2))
	publish(bus.Receipt{Receivers: 2})
	if err := last.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(bus.Receipt{Receivers: 1})
	if err := topic.Publish(t.Context(), 1, bus.ReceiptTo(nil)); err != nil {
		t.Error(err)
	}
	shutdown(t, b)
	r.Receivers = 7
	if err := topic.Publish(t.Context(), 1, bus.ReceiptTo(&r)); !errors.Is(err, bus.ErrClosed) || r != (bus.Receipt{}) {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestReceiptOfWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		release := make(chan struct{})
		subscribe(t, topic, "s", func(context.Context, int) error { <-release; return nil }, bus.Mailbox(1, bus.Fail))
		r := bus.Receipt{Receivers: 7}
		if err := topic.PublishBatch(t.Context(), make([]int, 5), bus.ReceiptTo(&r)); !errors.Is(err, bus.ErrMailboxFull) || r.Receivers != 0 {
			t.Errorf("%v, %+v", err, r)
		}
		time.Sleep(time.Second)
		r.Receivers = 7
		for range 2 {
			if err := topic.Publish(t.Context(), 1, bus.ReceiptTo(&r)); err != nil && r.Receivers != 0 {
				t.Errorf("%v, %+v", err, r)
			}
		}
		close(release)
	})
}

func TestReceiptOfATransport(t *testing.T) {
	f := newFaulty()
	var results []transport.Result
	f.publish = func(_ context.Context, _ []*transport.Envelope, out []transport.Result) { copy(out, results) }
	topic := newTopic(t, newBus(t, bus.Config{Transport: f}), bus.TopicConfig[int]{Name: "n"})
	refused := errors.New("refused")
	for _, c := range []struct {
		results []transport.Result
		want    bus.Receipt
	}{
		{[]transport.Result{{Receivers: 3}}, bus.Receipt{Receivers: 3}},
		{[]transport.Result{{Receivers: -1}}, bus.Receipt{Receivers: -1}},
		{[]transport.Result{{Receivers: 3, Repeated: true}}, bus.Receipt{Receivers: 3, Repeated: true}},
		{[]transport.Result{{Receivers: 3, Err: refused}}, bus.Receipt{}},
		{[]transport.Result{{Receivers: 3}, {Receivers: 1, Repeated: true}, {Receivers: 2}}, bus.Receipt{Receivers: 1, Repeated: true}},
		{[]transport.Result{{Receivers: 3}, {Err: refused}}, bus.Receipt{}},
	} {
		results = c.results
		r := bus.Receipt{Receivers: 7}
		if len(results) == 1 {
			_ = topic.Publish(t.Context(), 1, bus.ReceiptTo(&r)) // it is the receipt that is tested
		} else {
			_ = topic.PublishBatch(t.Context(), make([]int, len(results)), bus.ReceiptTo(&r))
		}
		if r != c.want {
			t.Errorf("%+v: %+v, want %+v", c.results, r, c.want)
		}
	}
}
