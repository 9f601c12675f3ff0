package redis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// bubbleFaults happen to a fake cluster of three primaries with a replica each, one after another. Each is undone when
// it returns.
var bubbleFaults = []struct {
	name   string
	inject func(c *fakecluster.Cluster, f *flow, round int)
}{
	{"a killed primary", func(c *fakecluster.Cluster, _ *flow, round int) {
		dead := c.PrimaryFor(slotOf(round))
		c.Kill(dead)
		time.Sleep(time.Second)
		c.FailOver(c.Shard(slotOf(round)))
		time.Sleep(time.Second)
		c.Restart(dead)
	}},
	{"a hung primary that is replaced", func(c *fakecluster.Cluster, _ *flow, round int) {
		hung := c.PrimaryFor(slotOf(round))
		c.Pause(hung)
		time.Sleep(2500 * time.Millisecond)
		c.FailOver(c.Shard(slotOf(round)))
		time.Sleep(time.Second)
		c.Unpause(hung)
	}},
	{"a hung primary that comes back", func(c *fakecluster.Cluster, _ *flow, round int) {
		hung := c.PrimaryFor(slotOf(round))
		c.Pause(hung)
		time.Sleep(600 * time.Millisecond)
		c.Unpause(hung)
	}},
	{"an isolated primary", func(c *fakecluster.Cluster, _ *flow, round int) {
		alone := c.PrimaryFor(slotOf(round))
		c.Isolate(alone)
		time.Sleep(500 * time.Millisecond)
		c.FailOver(c.Shard(slotOf(round)))
		time.Sleep(2 * time.Second)
		c.Rejoin(alone)
	}},
	{"a graceful fail-over", func(c *fakecluster.Cluster, _ *flow, round int) {
		c.FailOverTo(c.ReplicasFor(slotOf(round))[0])
	}},
	{"a migrated slot", func(c *fakecluster.Cluster, f *flow, round int) {
		slot := router.Slot(f.topics[round%len(f.topics)])
		for _, n := range c.Nodes() {
			if n.IsPrimary() && n != c.PrimaryFor(slot) {
				c.MigrateSlot(slot, n)
				return
			}
		}
	}},
	{"killed connections", func(c *fakecluster.Cluster, _ *flow, _ int) {
		for _, n := range c.Nodes() {
			c.KillClients(n, "pubsub")
			c.KillClients(n, "normal")
		}
	}},
	{"subscribers that come back late", func(c *fakecluster.Cluster, _ *flow, _ int) {
		remove := c.Fault(nil, "SSUBSCRIBE", fakecluster.Always(fakecluster.Delay(100*time.Millisecond)))
		for _, n := range c.Nodes() {
			c.KillClients(n, "pubsub")
		}
		time.Sleep(300 * time.Millisecond)
		remove()
	}},
	{"events that are accepted without a word", func(c *fakecluster.Cluster, _ *flow, _ int) {
		remove := c.Fault(nil, "SPUBLISH", fakecluster.Times(10, fakecluster.DropReply()))
		time.Sleep(300 * time.Millisecond)
		remove()
	}},
	{"a cluster that refuses for a while", func(c *fakecluster.Cluster, _ *flow, _ int) {
		remove := c.Fault(nil, "SPUBLISH", fakecluster.Always(fakecluster.ReplyError("CLUSTERDOWN the cluster is down")))
		time.Sleep(300 * time.Millisecond)
		remove()
	}},
}

func slotOf(round int) int { return (round%3)*router.Slots/3 + 100 }

// TestFaultsInABubble: through all faults, who repairs misses nothing that a living publisher was told is accepted, and
// who does not is told of all that is missing; both in order and without a number twice.
func TestFaultsInABubble(t *testing.T) {
	t.Parallel()
	inBubble(t, fakecluster.Config{Replicas: 1}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		bubbleFlow(t, c, cfg)
	})
	t.Run("repair off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fakecluster.AwaitClients(t)
			c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
			bubbleFlow(t, c, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Repair: redis.Repair{Off: true}})
		})
	})
}

func bubbleFlow(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
	f := startFlowAt(t, cfg, 6, 40*time.Millisecond)
	for round, fault := range bubbleFaults {
		fault.inject(c, f, round)
		f.flowing(t)
		if t.Failed() {
			t.Fatalf("after %s", fault.name)
		}
	}
	f.check(t)
	if repaired := f.repaired(); (repaired == 0) != cfg.Repair.Off {
		t.Errorf("%d events were repaired", repaired)
	}
}

// repaired is how many events came by their publisher's answer.
func (f *flow) repaired() (sum uint64) {
	for _, topic := range f.topics {
		sum += f.sub.Ledger(topicNamed(topic)).Repaired
	}
	return sum
}
