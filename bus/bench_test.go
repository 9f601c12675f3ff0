package bus_test

import (
	"context"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// tick is the event of all benchmarks.
type tick struct {
	ID, Key uint64
	Price   float64
	Qty     int64
}

func passThrough(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d) }
}

// counter checks that every event was handled: their number and the sum of IDs.
type counter struct {
	n, sum uint64
	done   chan struct{}
}

// last is the ID of the event that ends a run.
const last = 1 << 62

func (c *counter) handle(_ context.Context, e tick) error {
	if e.ID == last {
		close(c.done)
		return nil
	}
	c.n++
	c.sum += e.ID
	return nil
}

func (c *counter) verify(b *testing.B, n uint64) {
	b.Helper()
	if c.n != n || c.sum != n*(n+1)/2 {
		b.Errorf("%d events with sum %d handled, want %d", c.n, c.sum, n)
	}
}

// One publisher, one subscriber, beside a buffered channel with one consumer.
// Time runs until every event has been handled.
func BenchmarkPublish(b *testing.B) {
	for _, bc := range []struct {
		name string
		use  []bus.Middleware
	}{{"bus", nil}, {"bus+2middlewares", []bus.Middleware{passThrough, passThrough}}} {
		b.Run(bc.name, func(b *testing.B) {
			eb := newBus(b, bus.Config{})
			topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
			c := &counter{done: make(chan struct{})}
			subscribe(b, topic, "counter", c.handle, bus.Use(bc.use...))
			ctx := context.Background()
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				if err := topic.Publish(ctx, tick{ID: i}); err != nil {
					b.Fatal(err)
				}
			}
			if err := topic.Publish(ctx, tick{ID: last}); err != nil {
				b.Fatal(err)
			}
			<-c.done
			c.verify(b, i)
		})
	}
	b.Run("channel", func(b *testing.B) {
		ch := make(chan tick, 1024)
		c := &counter{done: make(chan struct{})}
		go func() {
			for e := range ch {
				if c.handle(context.Background(), e) != nil {
					return
				}
			}
		}()
		b.ReportAllocs()
		i := uint64(0)
		for b.Loop() {
			i++
			ch <- tick{ID: i}
		}
		ch <- tick{ID: last}
		<-c.done
		close(ch)
		c.verify(b, i)
	})
}

// Eight lanes by key, 10,000 keys.
func BenchmarkPublishKeyed(b *testing.B) {
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	eb := newBus(b, bus.Config{})
	topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks", Key: func(e tick) string { return keys[e.Key] }})
	var wg sync.WaitGroup
	subscribe(b, topic, "counter", func(context.Context, tick) error { wg.Done(); return nil }, bus.Lanes(8), bus.Use(passThrough, passThrough))
	ctx := context.Background()
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		wg.Add(1)
		if err := topic.Publish(ctx, tick{ID: i, Key: i % 10_000}); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// Batches of 100.
func BenchmarkPublishBatch(b *testing.B) {
	eb := newBus(b, bus.Config{})
	topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
	c := &counter{done: make(chan struct{})}
	subscribe(b, topic, "counter", c.handle, bus.Use(passThrough, passThrough))
	ctx := context.Background()
	batch := make([]tick, 100)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		for j := range batch {
			i++
			batch[j].ID = i
		}
		if err := topic.PublishBatch(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := topic.Publish(ctx, tick{ID: last}); err != nil {
		b.Fatal(err)
	}
	<-c.done
	c.verify(b, i)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i), "ns/event")
}
