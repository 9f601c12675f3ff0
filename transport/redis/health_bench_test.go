package redis

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
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
	for i := 1; i <= 3; i++ {
		t.health.set(connkey.Key{Addr: node(i).Addr}, publisherOf, true, nil)
		t.health.set(connkey.Key{Addr: node(i).Addr}, subscriberOf, true, nil)
	}
	if well {
		return t
	}
	var calls sync.WaitGroup
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(calls.Wait)
	b.Cleanup(cancel)
	for i := range channels {
		calls.Go(func() { _ = t.Subscribe(ctx, transport.Topic{Name: fmt.Sprintf("t%d", i)}) }) // nobody confirms it
	}
	for sum := 0; sum < channels; { // and watermarks beside
		sum = 0
		for _, n := range t.subscriber.Unconfirmed() {
			sum += n
		}
	}
	return t
}
