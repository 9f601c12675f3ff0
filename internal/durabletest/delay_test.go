package durabletest

import (
	"errors"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// A delayed event is handled when it is due, also where the bus was started anew meanwhile.
func TestDelayOutlivesTheBus(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := orders(t, b, 0)
		began := time.Now()
		receipt := bus.Receipt{Offset: 7}
		if err := topic.Publish(t.Context(), order{"c", 1}, bus.After(time.Hour), bus.ReceiptTo(&receipt)); err != nil {
			t.Fatal(err)
		}
		if receipt != (bus.Receipt{}) {
			t.Errorf("an event that waits has the receipt %+v", receipt)
		}
		if err := topic.Publish(t.Context(), order{"c", 2}, bus.At(began.Add(time.Minute)), bus.ReceiptTo(&receipt)); err != nil {
			t.Fatal(err)
		}
		stop()
		b, stop = start(t, open())
		defer stop()
		got := make(recorder, 10)
		got.subscribe(t, orders(t, b, 0), "billing")
		for i, want := range []struct {
			n  int
			at time.Duration
		}{{2, time.Minute}, {1, time.Hour}} {
			if m := <-got; m.Value.N != want.n || time.Since(began).Truncate(10*time.Millisecond) != want.at || m.Offset != uint64(i+1) {
				t.Errorf("after %v: %+v", time.Since(began), m)
			}
		}
	})
}

// A time that has passed is now, for At and for After.
func TestDelayInThePast(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 0)
		for i, o := range []bus.PublishOption{bus.At(time.Now().Add(-time.Hour)), bus.At(time.Time{}), bus.After(0), bus.After(-time.Hour)} {
			var receipt bus.Receipt
			if err := topic.Publish(t.Context(), order{N: i}, o, bus.ReceiptTo(&receipt)); err != nil || receipt.Offset != uint64(i+1) {
				t.Errorf("option %d: %+v, %v", i, receipt, err)
			}
		}
	})
}

// A batch has one time for all; of messages each may have its own.
func TestDelayOfBatches(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 0)
		began := time.Now()
		if err := topic.PublishBatch(t.Context(), []order{{N: 2}, {N: 3}}, bus.After(time.Hour)); err != nil {
			t.Fatal(err)
		}
		err := topic.PublishMessages(t.Context(), []bus.Outgoing[order]{
			{Value: order{N: 4}, At: began.Add(2 * time.Hour)}, {Value: order{N: 1}, At: began}, {Value: order{N: 5}},
		}, bus.After(3*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		got := make(recorder, 10)
		got.subscribe(t, topic, "billing")
		for i, want := range []time.Duration{0, time.Hour, time.Hour, 2 * time.Hour, 3 * time.Hour} {
			if m := <-got; m.Value.N != i+1 || time.Since(began).Truncate(50*time.Millisecond) != want {
				t.Errorf("after %v: %+v", time.Since(began), m)
			}
		}
	})
}

// What is canceled is not handled. An event that was handled, and one that is not known, is not
// there to be canceled.
func TestCancel(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 4)
		got := make(recorder, 10)
		got.subscribe(t, topic, "billing")
		for _, id := range []string{"a", "b"} {
			if err := topic.Publish(t.Context(), order{id, 1}, bus.After(time.Hour), bus.ID(id)); err != nil {
				t.Fatal(err)
			}
		}
		cancel := func(id string, want bool) {
			t.Helper()
			if found, err := topic.Cancel(t.Context(), id); err != nil || found != want {
				t.Errorf("Cancel of %q: %v, %v", id, found, err)
			}
		}
		cancel("a", true)
		cancel("a", false)
		cancel("no such", false)
		if m := <-got; m.ID.String() != "b" {
			t.Errorf("%+v", m)
		}
		settle()
		cancel("b", false)
		if len(got) > 0 {
			t.Errorf("a canceled event was handled: %+v", <-got)
		}
		if _, err := topic.Cancel(t.Context(), ""); !errors.Is(err, bus.ErrInvalidConfig) {
			t.Errorf("Cancel without an ID: %v", err)
		}
	})
}

// What only a durable topic can do is refused by any other one, before anything is published.
func TestDelayNeedsADurableTopic(t *testing.T) {
	for what, cfg := range map[string]bus.TopicConfig[order]{
		"plain": {Name: "orders"},
		"chain": {Name: "orders", UsePublish: []bus.PublishMiddleware{func(next bus.PublishHandler) bus.PublishHandler { return next }}},
	} {
		t.Run(what, func(t *testing.T) {
			b, err := bus.New(bus.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := b.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			topic, err := bus.NewTopic(b, cfg)
			if err != nil {
				t.Fatal(err)
			}
			refused := func(err error) {
				t.Helper()
				if !errors.Is(err, bus.ErrNotDurable) || !errors.Is(err, bus.ErrInvalidConfig) {
					t.Errorf("the error is %v", err)
				}
			}
			refused(topic.Publish(t.Context(), order{}, bus.After(time.Second)))
			refused(topic.Publish(t.Context(), order{}, bus.At(time.Time{})))
			refused(topic.PublishBatch(t.Context(), []order{{}, {}}, bus.After(time.Second)))
			_, err = topic.Cancel(t.Context(), "id")
			refused(err)
			if n := topic.Stats().Published; n != 0 {
				t.Errorf("%d events were published", n)
			}
			err = topic.PublishMessages(t.Context(), []bus.Outgoing[order]{{}, {At: time.Now()}})
			refused(err)
			var failed *bus.BatchError
			if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 1 || topic.Stats().Published != 1 {
				t.Errorf("%v, and %d were published", err, topic.Stats().Published)
			}
		})
	}
}
