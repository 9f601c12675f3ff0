package bus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// What lanes do that the stream of BenchmarkPublish does not: mailboxes that evict, batches, groups,
// keys that are deferred.
func BenchmarkLane(b *testing.B) {
	key := func(e tick) string { return "key" }
	for _, bc := range []struct {
		name  string
		group bool
		opts  []bus.SubscribeOption
	}{
		{"drop oldest", false, []bus.SubscribeOption{bus.Mailbox(1<<20, bus.DropOldest)}},
		{"group", true, nil},
	} {
		b.Run(bc.name, func(b *testing.B) {
			eb := newBus(b, bus.Config{})
			topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks", Key: key})
			c := &counter{done: make(chan struct{})}
			opts := bc.opts
			if bc.group {
				opts = append(opts, bus.Group("g"))
			}
			subscribe(b, topic, "counter", c.handle, opts...)
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
		})
	}
	b.Run("batches", func(b *testing.B) {
		eb := newBus(b, bus.Config{})
		topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
		var wg sync.WaitGroup
		if _, err := topic.SubscribeBatch(context.Background(), "s", func(_ context.Context, batch []bus.Message[tick]) error {
			wg.Add(-len(batch))
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			wg.Add(1)
			if err := topic.Publish(context.Background(), tick{}); err != nil {
				b.Fatal(err)
			}
		}
		wg.Wait()
	})
	// Every event fails once, and is a dead letter or comes again at once.
	for name, verdict := range map[string]error{"discard": bus.Discard(errAgain), "retry": bus.RetryAfter(0, errAgain)} {
		b.Run(name, func(b *testing.B) {
			eb := newBus(b, bus.Config{})
			topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks"})
			var wg sync.WaitGroup
			failed := false
			subscribe(b, topic, "s", func(context.Context, tick) error {
				if failed = !failed; failed {
					if name == "discard" {
						failed = false
						wg.Done()
					}
					return verdict
				}
				wg.Done()
				return nil
			})
			b.ReportAllocs()
			for b.Loop() {
				wg.Add(1)
				if err := topic.Publish(context.Background(), tick{}); err != nil {
					b.Fatal(err)
				}
			}
			wg.Wait()
		})
	}
	// One key waits all the time, others pass it.
	b.Run("beside a deferred key", func(b *testing.B) {
		eb := newBus(b, bus.Config{})
		keys := [2]string{"free", "deferred"}
		topic := newTopic(b, eb, bus.TopicConfig[tick]{Name: "ticks", Key: func(e tick) string { return keys[e.Key] }})
		var wg sync.WaitGroup
		subscribe(b, topic, "s", func(_ context.Context, e tick) error {
			if e.Key == 1 {
				return bus.Snooze(time.Hour)
			}
			wg.Done()
			return nil
		})
		if err := topic.Publish(context.Background(), tick{Key: 1}); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			wg.Add(1)
			if err := topic.Publish(context.Background(), tick{}); err != nil {
				b.Fatal(err)
			}
		}
		wg.Wait()
	})
}
