package bus_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newBus makes a bus that the test closes.
func newBus(t testing.TB, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newTopic[T any](t testing.TB, b *bus.Bus, cfg bus.TopicConfig[T]) *bus.Topic[T] {
	t.Helper()
	topic, err := bus.NewTopic(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func subscribe[T any](t testing.TB, topic *bus.Topic[T], name string, h func(context.Context, T) error, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	s, err := topic.Subscribe(context.Background(), name, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish[T any](t testing.TB, topic *bus.Topic[T], events ...T) {
	t.Helper()
	for _, e := range events {
		if err := topic.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func ignore[T any](context.Context, T) error { return nil }
