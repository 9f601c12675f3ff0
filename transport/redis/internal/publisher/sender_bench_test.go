package publisher

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// BenchmarkSender is what the queues cost without connections: each goroutine publishes, and
// resolves what is ready at any node that nobody else writes at. One op is an event; a batch has
// events for all nodes. What nodes share costs most with 3 nodes and 8 goroutines.
func BenchmarkSender(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, goroutines := range []int{1, 8} {
			for _, size := range []int{1, 99} {
				b.Run(fmt.Sprintf("nodes=%d/goroutines=%d/batch=%d", nodes, goroutines, size), func(b *testing.B) {
					s := newSenderBench(b, nodes)
					s.left.Store(int64(b.N))
					b.ReportAllocs()
					var all sync.WaitGroup
					for g := range goroutines {
						all.Go(func() { s.publish(g, size) })
					}
					all.Wait()
				})
			}
		}
	}
}

// senderBench is a sender with one slot at each node.
type senderBench struct {
	*sender
	queues  []*nodeQueue
	writing []atomic.Bool
	left    atomic.Int64 // events to be published
}

func newSenderBench(b *testing.B, nodes int) *senderBench {
	shards := make([]router.Shard, nodes)
	for i := range shards {
		addr := fmt.Sprint("n:", i)
		shards[i] = router.Shard{Primary: router.Node{Addr: addr, ID: addr}, Slots: []router.SlotRange{{From: i, To: i}}}
	}
	snapshot, err := router.NewSnapshot(shards)
	if err != nil {
		b.Fatal(err)
	}
	cfg := testSettings()
	s := &senderBench{sender: newSender(&cfg, newFakeCluster(snapshot)), writing: make([]atomic.Bool, nodes)}
	for i := range nodes {
		l, detach := s.attach(connkey.Key{Addr: fmt.Sprint("n:", i)})
		b.Cleanup(detach)
		s.queues = append(s.queues, l)
	}
	return s
}

// publish is one goroutine, which publishes batches until none is left.
func (s *senderBench) publish(g, size int) {
	var pool callPool
	results, envs, routes := make([]transport.Result, size), make([]*transport.Envelope, size), make([]route, size)
	for i := range envs {
		slot := (g + i) % len(s.queues)
		routes[i] = route{channel: fmt.Sprint("c", slot, ".", g), slot: slot}
		envs[i] = &transport.Envelope{Topic: routes[i].channel, Publisher: "0123456789abcdef"}
	}
	w := senderBenchWriter{senderBench: s, first: g, outcomes: make([]outcome, batchEvents)}
	for s.left.Add(-int64(size)) >= -int64(size) {
		c := pool.get(results)
		for i := range envs {
			it := &c.events[i]
			it.env, it.caller, it.index, it.route = envs[i], c, i, routes[i]
			it.doc = append(it.doc[:0], "0123456789012345678901234567890123456789"...)
			it.size = len(it.doc) + eventOverhead
		}
		for next := 0; ; w.write() {
			_, n, space, _ := s.push(c, next)
			if next = n; space == nil {
				break
			}
		}
		for w.write(); len(c.done) == 0; w.write() {
			runtime.Gosched()
		}
		<-c.done
		pool.put(c)
	}
}

// senderBenchWriter takes and resolves batches, of the nodes from the first-th on.
type senderBenchWriter struct {
	*senderBench
	first    int
	batch    batch
	outcomes []outcome
}

func (w *senderBenchWriter) write() {
	for k := range w.queues {
		i := (w.first + k) % len(w.queues)
		for l := w.queues[i]; l.readyCount.Load() > 0 && w.writing[i].CompareAndSwap(false, true); w.writing[i].Store(false) {
			if w.take(l, &w.batch); len(w.batch.events) == 0 {
				continue
			}
			for j := range w.batch.events {
				w.outcomes[j] = outcome{receivers: 1}
			}
			w.applyOutcomes(l, &w.batch, w.outcomes[:len(w.batch.events)], nil)
		}
	}
}
