package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// BenchmarkNodes publishes from 8 goroutines to 3 shards at once: what the nodes' queues share
// costs here, if anywhere. One op is an event; with batches each Publish has events for all shards.
// Its mutex profile says what is waited for.
func BenchmarkNodes(b *testing.B) {
	const goroutines, shards = 8, 3
	c := redistest.NewCluster(b, redistest.ClusterConfig{Primaries: shards})
	topics := make([][]string, shards)
	for i := range 100 * shards { // enough for each shard
		name := fmt.Sprint("nodes.", i)
		at := router.Slot(name) * shards / router.Slots
		topics[at] = append(topics[at], name)
	}
	for _, batch := range []int{1, 99} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			tr := benchServe(b, redis.Config{Addrs: c.Addrs()}, new(counter))
			b.SetParallelism(max(1, goroutines/runtime.GOMAXPROCS(0)))
			next := make(chan int, 1000)
			for i := range cap(next) {
				next <- i
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				g := <-next
				envs, results := make([]*transport.Envelope, batch), make([]transport.Result, batch)
				for i := range envs {
					at := topics[(g+i)%shards]
					envs[i] = &transport.Envelope{
						Topic: at[g%goroutines], Publisher: "0123456789abcdef", ID: "0123456789abcdef-1234567",
						ContentType: "application/json", Payload: []byte(`{"date":"2026-03-01","origin":"SFO","destination":"JFK","delay":17}`),
					}
				}
				n := 0
				for pb.Next() {
					if n++; n%batch != 0 {
						continue
					}
					tr.Publish(context.Background(), envs, results)
					for i := range results {
						if results[i].Err != nil {
							b.Error(results[i].Err)
							return
						}
					}
				}
			})
		})
	}
}
