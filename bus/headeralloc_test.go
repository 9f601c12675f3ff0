package bus_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// One or two headers cost an event in process one allocation of at most 100 bytes, and none costs nothing.
func TestHeadersAllocateOnce(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for n, opts := range [][]bus.PublishOption{nil, {bus.Header("traceparent", parent)}, {bus.Header("traceparent", parent), bus.Header("tenant", "x")}} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			b := newBus(t, bus.Config{})
			topic := newTopic(t, b, bus.TopicConfig[tick]{Name: "ticks"})
			seen, lengths := 0, 0
			sub, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[tick]) error {
				seen++
				lengths += len(m.Headers.Get("traceparent"))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			publishAll := func(events int) {
				for range events {
					var err error
					switch n {
					case 0:
						err = topic.Publish(ctx, tick{ID: 1})
					case 1:
						err = topic.Publish(ctx, tick{ID: 1}, bus.Header("traceparent", parent))
					case 2:
						err = topic.Publish(ctx, tick{ID: 1}, bus.Header("traceparent", parent), bus.Header("tenant", "x"))
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			publishAll(5000) // the mailbox has grown
			const events = 20_000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			publishAll(events)
			runtime.ReadMemStats(&after)
			allocs, bytes := float64(after.Mallocs-before.Mallocs)/events, float64(after.TotalAlloc-before.TotalAlloc)/events
			if want := float64(min(n, 1)); allocs > want+0.1 || bytes > 100*want+10 {
				t.Errorf("%.2f allocations and %.1f bytes an event, with %d options", allocs, bytes, len(opts))
			}
			shutdown(t, b)
			if st := stats(t, sub); seen != 5000+events || st.Handled != uint64(seen) || n > 0 && lengths != seen*len(parent) {
				t.Errorf("%d seen: %v", seen, st)
			}
		})
	}
}

// BenchmarkHeaders is a publisher and a subscriber with none, one and two headers on each event.
func BenchmarkHeaders(b *testing.B) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for n, name := range []string{"none", "one", "two"} {
		b.Run(name, func(b *testing.B) {
			eb := newBus(b, bus.Config{})
			topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
			c := &counter{done: make(chan struct{})}
			subscribe(b, topic, "counter", c.handle)
			ctx := context.Background()
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				var err error
				switch n {
				case 0:
					err = topic.Publish(ctx, tick{ID: i})
				case 1:
					err = topic.Publish(ctx, tick{ID: i}, bus.Header("traceparent", parent))
				case 2:
					err = topic.Publish(ctx, tick{ID: i}, bus.Header("traceparent", parent), bus.Header("tenant", "x"))
				}
				if err != nil {
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
}
