package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
)

// BenchmarkHealth is what a probe costs on three shards: while all is well, and while the channels of one are not confirmed.
func BenchmarkHealth(b *testing.B) {
	for _, channels := range []int{20, 10_000} {
		for _, well := range []bool{true, false} {
			b.Run(fmt.Sprintf("channels=%d/well=%v", channels, well), func(b *testing.B) {
				t := healthBenchTransport(b, channels, well)
				b.ReportAllocs()
				for b.Loop() {
					if h := t.Health(); (len(h.Down) == 0) != well {
						b.Fatal(h)
					}
				}
			})
		}
	}
}

func healthBenchTransport(b *testing.B, channels int, well bool) *Transport {
	cfg, err := Config{Addrs: []string{"h"}, Repair: Repair{Off: true}}.resolved()
	if err != nil {
		b.Fatal(err)
	}
	third := router.Slots / 3
	snapshot, err := router.NewSnapshot([]router.Shard{
		{Primary: node(1), Slots: []router.SlotRange{{From: 0, To: third - 1}}},
		{Primary: node(2), Slots: []router.SlotRange{{From: third, To: 2*third - 1}}},
		{Primary: node(3), Slots: []router.SlotRange{{From: 2 * third, To: router.Slots - 1}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	t := newTransport(cfg, cluster.Discovery{Cluster: true, Snapshot: snapshot})
	t.serving = true
	for i := range channels {
		t.subscriber.subscriptions.enqueue(newSubscribeCall(router.Placement{Topic: fmt.Sprintf("t%d", i)}))
	}
	for i := 1; i <= 3; i++ {
		t.health.set(node(i).Addr, publisherOf, true, nil)
		t.health.set(node(i).Addr, subscriberOf, true, nil)
		f := newSession(t.subscriber, node(i).Addr)
		t.subscriber.subscriptions.sessionUp(f)
		if i == 1 && !well {
			continue
		}
		for _, todo := range t.subscriber.subscriptions.commands(f) {
			for _, name := range todo.Subscribe {
				t.subscriber.subscriptions.confirmed(f, []pushEvent{{kind: pushSubscribed, channel: name}}, time.Unix(1e6, 0), func(*channel) {})
			}
		}
	}
	return t
}
