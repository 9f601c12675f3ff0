package bus_test

import (
	"context"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

type tick struct {
	ID, Key uint64
	Price   float64
	Qty     int64
}

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

func TestFirst(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	sum := 0
	s, err := topic.Subscribe(t.Context(), "sum", func(_ context.Context, n int) error { sum += n; return nil }, bus.Mailbox(3, bus.Block))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := topic.Publish(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sum != 999*1000/2 {
		t.Errorf("sum %d", sum)
	}
	t.Log(s.Stats())
}

func pass(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d) }
}

func BenchmarkPublishOne(b *testing.B) {
	for _, bc := range []struct {
		name string
		opts []bus.SubscribeOption
	}{{"plain", nil}, {"middleware=2", []bus.SubscribeOption{bus.Use(pass, pass)}}} {
		b.Run(bc.name, func(b *testing.B) {
			eb := newBus(b, bus.Config{})
			topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
			sum, n := uint64(0), uint64(0)
			done := make(chan struct{})
			_, err := topic.Subscribe(b.Context(), "sum", func(_ context.Context, e tick) error {
				sum += e.ID
				n++
				if e.Qty < 0 {
					close(done)
				}
				return nil
			}, bc.opts...)
			if err != nil {
				b.Fatal(err)
			}
			ctx := context.Background()
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				topic.Publish(ctx, tick{ID: i})
			}
			topic.Publish(ctx, tick{Qty: -1})
			<-done
			if n != i+1 {
				b.Errorf("%d of %d", n, i)
			}
		})
	}
	b.Run("channel", func(b *testing.B) {
		ch := make(chan tick, 1024)
		done := make(chan struct{})
		sum := uint64(0)
		go func() {
			for e := range ch {
				sum += e.ID
			}
			close(done)
		}()
		b.ReportAllocs()
		i := uint64(0)
		for b.Loop() {
			i++
			ch <- tick{ID: i}
		}
		close(ch)
		<-done
	})
}
