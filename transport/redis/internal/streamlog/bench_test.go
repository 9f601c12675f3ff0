package streamlog_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport/redis"
)

// measured is a topic on a server of its own.
func measured(b *testing.B, class bus.Class) *bus.Topic[paid] {
	b.Helper()
	redistest.Require(b)
	server, err := redistest.StartServer(b.Context(), redistest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	r, err := redis.Open(b.Context(), redis.Config{Addrs: []string{server.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	on, err := bus.New(bus.Config{Transport: r})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = on.Close()
		_ = r.Close()
	})
	topic, err := bus.NewTopic(on, bus.TopicConfig[paid]{Name: "measured", Class: class, Key: func(p paid) string { return p.Key }})
	if err != nil {
		b.Fatal(err)
	}
	return topic
}

// BenchmarkLatency is from Publish to the handler, one event at a time: of a durable topic, and of an
// ephemeral one on the same kind of server.
func BenchmarkLatency(b *testing.B) {
	for name, class := range map[string]bus.Class{"durable": bus.Durable, "ephemeral": bus.Ephemeral} {
		b.Run(name, func(b *testing.B) {
			topic := measured(b, class)
			got := make(chan time.Time, 1)
			if _, err := topic.Subscribe(b.Context(), "s", func(context.Context, paid) error {
				got <- time.Now()
				return nil
			}); err != nil {
				b.Fatal(err)
			}
			times := make([]time.Duration, 0, b.N)
			b.ResetTimer()
			for n := range b.N {
				start := time.Now()
				if err := topic.Publish(b.Context(), paid{"k", n}); err != nil {
					b.Fatal(err)
				}
				times = append(times, (<-got).Sub(start))
			}
			b.StopTimer()
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkPublish appends from goroutines, and in batches.
func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			topic := measured(b, bus.Durable)
			b.SetParallelism(max(1, publishers/2))
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := topic.Publish(b.Context(), paid{"k", 1}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("batches=100", func(b *testing.B) {
		topic := measured(b, bus.Durable)
		events := make([]paid, 100)
		b.ResetTimer()
		for n := 0; n < b.N; n += len(events) {
			if err := topic.PublishBatch(b.Context(), events); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkConsume handles events that are in the log.
func BenchmarkConsume(b *testing.B) {
	topic := measured(b, bus.Durable)
	events := make([]paid, 500)
	for i := range events {
		events[i] = paid{fmt.Sprintf("k%d", i%100), i}
	}
	for n := 0; n < b.N; n += len(events) {
		if err := topic.PublishBatch(b.Context(), events[:min(len(events), b.N-n)]); err != nil {
			b.Fatal(err)
		}
	}
	done := make(chan struct{})
	var handled atomic.Int64
	b.ResetTimer()
	if _, err := topic.Subscribe(b.Context(), "s", func(context.Context, paid) error {
		if handled.Add(1) == int64(b.N) {
			close(done)
		}
		return nil
	}, bus.From(bus.Earliest()), bus.Lanes(4)); err != nil {
		b.Fatal(err)
	}
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
