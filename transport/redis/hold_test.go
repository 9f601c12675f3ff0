package redis_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestStartTogether: of what another bus publishes from the return of Start on, and this one too, nothing is unrouted or
// missing on any of 50 topics.
func TestStartTogether(t *testing.T) {
	const topics, events = 50, 20
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3})
	connect := func(hold bool) *bus.Bus {
		b, err := bus.New(bus.Config{Hold: hold, Open: func(ctx context.Context) (transport.Transport, error) {
			return redis.Open(ctx, redis.Config{Addrs: c.Addrs()})
		}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	consumer, publisher := connect(true), connect(false)
	var handled atomic.Int64
	var subs []*bus.Subscription
	all := map[*bus.Bus][]*bus.Topic[int]{}
	for _, b := range []*bus.Bus{consumer, publisher} {
		for i := range topics {
			topic, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: fmt.Sprint("topic.", i)})
			if err != nil {
				t.Fatal(err)
			}
			all[b] = append(all[b], topic)
			if b == publisher {
				continue
			}
			sub, err := topic.Subscribe(t.Context(), "s", func(context.Context, int) error { handled.Add(1); return nil })
			if err != nil {
				t.Fatal(err)
			}
			subs = append(subs, sub)
		}
	}
	if err := consumer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range events {
		for _, b := range []*bus.Bus{publisher, consumer} {
			for i, topic := range all[b] {
				if err := topic.Publish(t.Context(), n); err != nil {
					t.Fatalf("topic %d: %v", i, err)
				}
			}
		}
	}
	eventually(t, "all events", func() error {
		if n := handled.Load(); n != 2*topics*events {
			return fmt.Errorf("%d handled, want %d", n, 2*topics*events)
		}
		return nil
	})
	for i, topic := range all[consumer] {
		if st := topic.Stats(); st.Unrouted != 0 {
			t.Errorf("topic %d: %+v", i, st)
		}
		if st := subs[i].Stats(); st.Handled != 2*events || st.Lost+st.Uncertain+st.Unmeasured != 0 || !st.Balanced() {
			t.Errorf("topic %d: %v, %d lost", i, st, st.Lost)
		}
	}
	for _, b := range []*bus.Bus{publisher, consumer} {
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
