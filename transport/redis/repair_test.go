package redis_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// inBubble runs a test on a fake cluster, on virtual time, for each kind of server.
func inBubble(t *testing.T, cfg fakecluster.Config, test func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config)) {
	for _, version := range []string{"7.0.15", "7.2.4", "8.0.0"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.Linger(t)
				cfg.Version = version
				c := fakecluster.New(t, cfg)
				test(t, c, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
			})
		})
	}
}

// topicAt returns a topic whose channel is in the n-th shard.
func topicAt(c *fakecluster.Cluster, n int) transport.Topic {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("repair.%d", i); c.Shard(router.Slot(name)) == n {
			return transport.Topic{Name: name}
		}
	}
}

// send publishes events one by one, so that a fault between them hits none but what is lost of it.
func (n *node) send(t testing.TB, topic transport.Topic, events int) {
	t.Helper()
	for range events {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		res := n.publish(ctx, transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "x", Payload: []byte(`{"a": 1}`)})
		cancel()
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
}

// deaf makes what is published with f lost: the node publishes it, and its subscribers do not hear it.
func deaf(c *fakecluster.Cluster, topic transport.Topic, f func()) {
	owner := c.PrimaryFor(router.Slot(topic.Name))
	remove := c.Fault(owner, "SSUBSCRIBE", fakecluster.Always(fakecluster.Delay(100*time.Millisecond)))
	c.KillClients(owner, "pubsub")
	f()
	remove()
}

// complete waits until the first n numbers have arrived, and checks that they came in order and nothing is missing.
func (n *node) complete(t testing.TB, topic transport.Topic, last uint64) {
	t.Helper()
	n.await(t, fmt.Sprintf("%d events", last), func() bool { return n.last[topic.Name+"|0|p"] == last })
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.disorder) > 0 || len(n.gaps) > 0 || len(n.events) != int(last) {
		t.Errorf("%d events of %d, gaps %v, disorder %v", len(n.events), last, n.gaps, n.disorder)
	}
}

// TestLostEventsAreRepaired: what was published while a subscriber had no connection arrives in order, before what
// follows; also if nothing follows.
func TestLostEventsAreRepaired(t *testing.T) {
	inBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		sub.complete(t, topic, 3)
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		start := time.Now()
		sub.complete(t, topic, 8)
		if took := time.Since(start); took > 600*time.Millisecond {
			t.Errorf("the tail was repaired after %v", took)
		}
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		time.Sleep(200 * time.Millisecond)
		pub.send(t, topic, 1)
		sub.complete(t, topic, 14)
		if got := sub.Ledger(topic); got.Repaired < 9 || got.Received != 14 || got.Voided+got.Missing != 0 {
			t.Errorf("%+v", got)
		}
	})
}
