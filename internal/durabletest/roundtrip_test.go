package durabletest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

type order struct {
	Customer string
	N        int
}

func orders(t *testing.T, b *bus.Bus, partitions int) *bus.Topic[order] {
	t.Helper()
	topic, err := bus.NewTopic(b, bus.TopicConfig[order]{
		Name: "orders", Class: bus.Durable, Partitions: partitions, Key: func(o order) string { return o.Customer },
	})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// An event that was published before anybody subscribed is handled once somebody does.
func TestDurableRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		b, err := bus.New(bus.Config{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		topic := orders(t, b, 0)
		for i := range 10 {
			if err := topic.Publish(t.Context(), order{"c", i}); err != nil {
				t.Fatal(err)
			}
		}
		got := make(chan bus.Message[order], 100)
		sub, err := topic.SubscribeMessage(t.Context(), "billing", func(_ context.Context, m bus.Message[order]) error {
			got <- m
			return nil
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			m := <-got
			if m.Value.N != i || m.Offset != uint64(i+1) || m.Attempt != 1 || m.Redelivered {
				t.Errorf("event %d: %+v", i, m)
			}
		}
		time.Sleep(time.Second)
		if st := sub.Stats(); !st.Balanced() || st.Handled != 10 || st.Committed != 10 {
			t.Errorf("%v, committed %d", st, st.Committed)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err = bus.New(bus.Config{Log: log.Connect()})
		if err != nil {
			t.Fatal(err)
		}
		topic = orders(t, b, 0)
		if err := topic.Publish(t.Context(), order{"c", 10}); err != nil {
			t.Fatal(err)
		}
		failures := 0
		sub, err = topic.SubscribeMessage(t.Context(), "billing", func(_ context.Context, m bus.Message[order]) error {
			if failures++; failures < 3 {
				return bus.RetryAfter(time.Minute, errors.New("not yet"))
			}
			got <- m
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		m := <-got
		if m.Value.N != 10 || m.Attempt != 3 {
			t.Errorf("after the restart: %+v", m)
		}
		if err := sub.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if st := sub.Stats(); !st.Balanced() || st.Handled != 1 || st.Committed != 1 || st.Retried != 2 {
			t.Errorf("%v, committed %d", st, st.Committed)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
