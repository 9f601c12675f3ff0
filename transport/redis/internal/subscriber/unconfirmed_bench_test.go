package subscriber

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
)

// BenchmarkUnconfirmed is what asking for the channels that are not confirmed costs: while all are, and while a third is
// not.
func BenchmarkUnconfirmed(b *testing.B) {
	third := router.Slots / 3
	for _, channels := range []int{20, 10_000} {
		for _, well := range []bool{true, false} {
			b.Run(fmt.Sprintf("channels=%d/well=%v", channels, well), func(b *testing.B) {
				cluster := newStillCluster(b,
					router.Shard{Primary: nodeAt(1), Slots: []router.SlotRange{{From: 0, To: third - 1}}},
					router.Shard{Primary: nodeAt(2), Slots: []router.SlotRange{{From: third, To: 2*third - 1}}},
					router.Shard{Primary: nodeAt(3), Slots: []router.SlotRange{{From: 2 * third, To: router.Slots - 1}}},
				)
				sub, _ := stillSubscriber(cluster, &stubAnswerer{publisher: "p"}, noSink{}, RepairSettings{Off: true})
				for i := range channels {
					sub.subscriptions.enqueue(newSubscribeCall(router.Placement{Topic: fmt.Sprintf("t%d", i)}))
				}
				for i := 1; i <= 3; i++ {
					f := newSession(sub, at(nodeAt(i).Addr))
					sub.subscriptions.sessionUp(f)
					if i == 1 && !well {
						continue
					}
					for _, todo := range sub.subscriptions.commands(f) {
						for _, name := range todo.Subscribe {
							sub.subscriptions.confirmed(f, []pushEvent{{kind: pushSubscribed, channel: name}}, time.Unix(1e6, 0), func(*channel) {})
						}
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					if counts := sub.Unconfirmed(); (len(counts) == 0) != well {
						b.Fatal(counts)
					}
				}
			})
		}
	}
}
