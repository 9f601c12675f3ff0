package bus_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// What an idle subscription costs: it has no goroutine, and memory is reported
// as B/subscription.
func BenchmarkIdleSubscription(b *testing.B) {
	eb := newBus(b, bus.Config{})
	topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
	h := ignore[tick]
	var before, after runtime.MemStats
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		if _, err := topic.Subscribe(b.Context(), strconv.Itoa(n), h); err != nil {
			b.Fatal(err)
		}
		n++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/subscription")
	if g := runtime.NumGoroutine(); g > goroutines {
		b.Errorf("%d goroutines, there were %d", g, goroutines)
	}
	runtime.KeepAlive(topic)
}
