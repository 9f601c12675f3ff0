package redis_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// flood publishes from many goroutines at once, each under a context of its own, and returns the results.
func flood(n *node, goroutines int, topic string, timeout time.Duration) []transport.Result {
	results := make([]transport.Result, goroutines)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			ctx, cancel := context.Background(), func() {}
			if timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, timeout)
			}
			defer cancel()
			results[i] = n.publish(ctx, transport.Envelope{Topic: topic, Publisher: "p", ID: "x", Payload: make([]byte, 1000)})
		})
	}
	wg.Wait()
	return results
}

// written counts what is written to connections.
type written struct {
	net.Conn
	bytes *atomic.Int64
}

func (w written) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.bytes.Add(int64(n))
	return n, err
}

// TestHungNode: whatever a node does, a Publish ends when its context does, or after PublishTimeout if that has no end;
// what is in flight is two pipelines; other shards do not notice; and Serve ends all the same.
func TestHungNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		var bytes atomic.Int64
		n := serve(t, redis.Config{Addrs: c.Addrs(), QueueEvents: 2000, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := c.Dial(ctx, addr)
			return written{conn, &bytes}, err
		}})
		hung := c.PrimaryFor(router.Slot("orders"))
		other := "a"
		if c.PrimaryFor(router.Slot(other)) == hung {
			t.Fatal("both topics are on one shard")
		}
		if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x"}); res.Err != nil {
			t.Fatal(res.Err)
		}
		c.Pause(hung)
		for _, flight := range []struct{ timeout, want time.Duration }{
			{200 * time.Millisecond, 200 * time.Millisecond}, {0, redis.DefaultPublishTimeout},
		} {
			before, start := bytes.Load(), time.Now()
			var elsewhere []transport.Result
			var wg sync.WaitGroup
			wg.Go(func() { elsewhere = flood(n, 100, other, 100*time.Millisecond) })
			for _, res := range flood(n, 5000, "orders", flight.timeout) {
				if !errors.Is(res.Err, redis.ErrTimeout) && !errors.Is(res.Err, context.DeadlineExceeded) {
					t.Fatalf("%+v", res)
				}
			}
			wg.Wait()
			if took := time.Since(start); took != flight.want {
				t.Errorf("publishers waited for %v, want %v", took, flight.want)
			}
			for _, res := range elsewhere {
				if res.Err != nil {
					t.Fatalf("another shard: %v", res.Err)
				}
			}
			// Each incarnation of the publisher wrote two pipelines of 512 events of 1.5 KB at most.
			incarnations := int64(flight.want/redis.DefaultCommandTimeout) + 1
			if got, limit := bytes.Load()-before, incarnations*2*512*2000; got > limit {
				t.Errorf("%d bytes were written, want %d at most", got, limit)
			}
		}
		c.Unpause(hung)
		if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x"}); res.Err != nil {
			t.Error(res.Err)
		}
		c.Pause(hung)
		start := time.Now()
		n.stop()
		// A pipeline, the last words and the end of the connection may have to wait for it, each for as long.
		if took := time.Since(start); took > 4*redis.DefaultCommandTimeout {
			t.Errorf("Serve took %v to end", took)
		}
		c.Unpause(hung)
	})
}

// TestHungServer is the same with a real one.
func TestHungServer(t *testing.T) {
	t.Parallel()
	s := redistest.Standalone(t, redistest.Config{})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, PublishTimeout: 2 * time.Second})
	for round := range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		for _, timeout := range []time.Duration{100 * time.Millisecond, 0} {
			for _, res := range flood(n, 3000, "orders", timeout) {
				if res.Err == nil {
					t.Fatal("a stopped server accepted an event")
				}
			}
		}
		if round == 1 {
			n.stop() // it is not held up
		}
		if err := s.Cont(); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x"}); res.Err != nil {
				t.Error(res.Err)
			}
		}
	}
}
