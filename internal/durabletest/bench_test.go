package durabletest

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// measured makes a bus on a log, and a durable topic on it.
func measured(b *testing.B, log transport.Log, name string) (*bus.Bus, *bus.Topic[order]) {
	b.Helper()
	on, err := bus.New(bus.Config{Log: log})
	if err != nil {
		b.Fatal(err)
	}
	topic, err := bus.NewTopic(on, bus.TopicConfig[order]{Name: name, Class: bus.Durable, Key: func(o order) string { return o.Customer }})
	if err != nil {
		b.Fatal(err)
	}
	return on, topic
}

func openFile(b *testing.B) *file.Log {
	b.Helper()
	log, err := file.Open(filepath.Join(b.TempDir(), "events.db"), file.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	return log
}

// BenchmarkPublish is Publish of small events to a file: by 1, 8 and 64 publishers, and in batches of 100.
func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			on, topic := measured(b, openFile(b), "orders")
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var running sync.WaitGroup
			for range publishers {
				running.Go(func() {
					for left.Add(-1) >= 0 {
						if err := topic.Publish(b.Context(), order{"c", 1}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			_ = on.Close()
		})
	}
	b.Run("batches=100", func(b *testing.B) {
		on, topic := measured(b, openFile(b), "orders")
		events := make([]order, 100)
		b.ResetTimer()
		for n := 0; n < b.N; n += len(events) {
			if err := topic.PublishBatch(b.Context(), events[:min(len(events), b.N-n)]); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		_ = on.Close()
	})
}

// BenchmarkConsume handles events that are in a log, with one lane and with eight.
func BenchmarkConsume(b *testing.B) {
	for _, lanes := range []int{1, 8} {
		for name, open := range map[string]func(*testing.B) transport.Log{
			"file":   func(b *testing.B) transport.Log { return openFile(b) },
			"memory": func(*testing.B) transport.Log { return memory.NewLog() },
		} {
			b.Run(fmt.Sprintf("%s/lanes=%d", name, lanes), func(b *testing.B) {
				on, topic := measured(b, open(b), "orders")
				events := make([]order, 1000)
				for i := range events {
					events[i] = order{fmt.Sprintf("c%d", i%100), i}
				}
				for n := 0; n < b.N; n += len(events) {
					if err := topic.PublishBatch(b.Context(), events[:min(len(events), b.N-n)]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				done := make(chan struct{})
				var handled atomic.Int64
				if _, err := topic.Subscribe(b.Context(), "s", func(context.Context, order) error {
					if handled.Add(1) == int64(b.N) {
						close(done)
					}
					return nil
				}, bus.From(bus.Earliest()), bus.Lanes(lanes)); err != nil {
					b.Fatal(err)
				}
				<-done
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				b.StopTimer()
				_ = on.Close()
			})
		}
	}
}

// BenchmarkLatency is from Publish to the handler, through a file, one event at a time.
func BenchmarkLatency(b *testing.B) {
	on, topic := measured(b, openFile(b), "orders")
	got := make(chan time.Time, 1)
	if _, err := topic.Subscribe(b.Context(), "s", func(context.Context, order) error {
		got <- time.Now()
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	times := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		if err := topic.Publish(b.Context(), order{"c", 1}); err != nil {
			b.Fatal(err)
		}
		times = append(times, (<-got).Sub(start))
	}
	b.StopTimer()
	quantiles(b, times)
	_ = on.Close()
}

// BenchmarkIdleTopics is what a durable topic with a subscription costs while nothing happens.
func BenchmarkIdleTopics(b *testing.B) {
	const topics = 1000
	for range b.N {
		log := openFile(b)
		on, err := bus.New(bus.Config{Log: log})
		if err != nil {
			b.Fatal(err)
		}
		before, goroutines := heap(), runtime.NumGoroutine()
		for i := range topics {
			topic, err := bus.NewTopic(on, bus.TopicConfig[order]{Name: fmt.Sprintf("t%d", i), Class: bus.Durable})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := topic.Subscribe(b.Context(), "s", func(context.Context, order) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		b.ReportMetric(float64(heap()-before)/topics, "B/topic")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/topics, "goroutines/topic")
		_ = on.Close()
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // less than 2^63
}
