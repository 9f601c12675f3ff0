package redis_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// standbyFaults happen one after another, to other shards in turn. bound is for the longest silence of a topic that has
// an event every 20 ms.
var standbyFaults = []struct {
	name   string
	bound  time.Duration
	inject func(c *fakecluster.Cluster, f *flow, round int) (mend func())
}{
	{"a killed primary", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		dead := c.PrimaryFor(slotOf(round))
		c.Kill(dead)
		time.Sleep(time.Second)
		c.FailOver(c.Shard(slotOf(round)))
		time.Sleep(time.Second)
		return func() { c.Restart(dead) }
	}},
	{"a primary that is killed and comes back", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		dead := c.PrimaryFor(slotOf(round))
		c.Kill(dead)
		time.Sleep(500 * time.Millisecond)
		return func() { c.Restart(dead) }
	}},
	{"a hung primary that is replaced", 400 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		hung := c.PrimaryFor(slotOf(round))
		c.Pause(hung)
		time.Sleep(2500 * time.Millisecond)
		c.FailOver(c.Shard(slotOf(round)))
		time.Sleep(time.Second)
		return func() { c.Unpause(hung) }
	}},
	{"a hung primary that comes back", 400 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		hung := c.PrimaryFor(slotOf(round))
		c.Pause(hung)
		time.Sleep(1500 * time.Millisecond)
		return func() { c.Unpause(hung) }
	}},
	{"an isolated primary", 400 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		alone := c.PrimaryFor(slotOf(round))
		c.Isolate(alone)
		time.Sleep(2500 * time.Millisecond)
		c.FailOver(c.Shard(slotOf(round)))
		time.Sleep(time.Second)
		return func() { c.Rejoin(alone) }
	}},
	{"a graceful fail-over", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		c.FailOverTo(c.ReplicasFor(slotOf(round))[0])
		return func() {}
	}},
	{"a migrated slot", 50 * time.Millisecond, func(c *fakecluster.Cluster, f *flow, round int) func() {
		slot := router.Slot(f.topics[round%len(f.topics)])
		for _, n := range c.Nodes() {
			if n.IsPrimary() && n != c.PrimaryFor(slot) {
				c.MigrateSlot(slot, n)
				break
			}
		}
		return func() {}
	}},
	{"a killed replica", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		dead := c.ReplicasFor(slotOf(round))[0]
		c.Kill(dead)
		time.Sleep(time.Second)
		return func() { c.Restart(dead) }
	}},
	{"a hung replica", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		hung := c.ReplicasFor(slotOf(round))[0]
		c.Pause(hung)
		time.Sleep(2 * time.Second)
		return func() { c.Unpause(hung) }
	}},
	{"killed connections", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		c.KillClients(c.PrimaryFor(slotOf(round)), "pubsub")
		c.KillClients(c.PrimaryFor(slotOf(round)), "normal")
		return func() {}
	}},
	{"a primary that refuses", 50 * time.Millisecond, func(c *fakecluster.Cluster, _ *flow, round int) func() {
		remove := c.Fault(c.PrimaryFor(slotOf(round)), "SPUBLISH", fakecluster.Always(fakecluster.ReplyError("CLUSTERDOWN the cluster is down")))
		time.Sleep(time.Second)
		return remove
	}},
}

// TestStandby: whatever happens to one node of a shard, what arrives pauses for moments only, in order, once, and
// complete; and when all is well again events are published at primaries.
func TestStandby(t *testing.T) {
	t.Parallel()
	for _, kind := range []fakecluster.Config{
		{Version: "7.0.15", Replicas: 1}, {Version: "7.2.4", Replicas: 1}, {Version: "8.0.0", Replicas: 2},
	} {
		t.Run(kind.Version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, kind)
				standbyFlow(t, c, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true}, kind.Version == "7.2.4")
			})
		})
	}
}

// standbyFlow lets all faults happen, or only a killed primary, a graceful fail-over and a primary that refuses.
func standbyFlow(t *testing.T, c *fakecluster.Cluster, cfg redis.Config, few bool) {
	f := startFlowAt(t, cfg, 3, 20*time.Millisecond)
	time.Sleep(500 * time.Millisecond) // replicas are subscribed to a moment later than primaries
	for round, fault := range standbyFaults {
		if few && round%5 != 0 { // servers differ only where slots change hands
			continue
		}
		f.sub.silence()
		mend := fault.inject(c, f, round)
		f.flowing(t)
		hole := f.sub.silence()
		mend()
		time.Sleep(500 * time.Millisecond)
		f.flowing(t)
		after := f.sub.silence()
		t.Logf("%s: %v, and mended %v", fault.name, hole, after)
		if hole > fault.bound || after > 50*time.Millisecond {
			t.Errorf("%s: a topic was silent for %v, and afterwards %v", fault.name, hole, after)
		}
		f.atPrimaries(t, c)
		if t.Failed() {
			t.Fatalf("after %s:\n%v", fault.name, c)
		}
	}
	f.check(t)
}

// silence returns the longest time that a topic was silent, and begins anew.
func (s *sink) silence() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	hole := s.hole
	s.hole, s.holes = 0, nil
	return hole
}

// ownSilence is silence without the time in which the control stood still, too: the silence that counts. It is told, with
// what was left out.
func (s *sink) ownSilence(t *testing.T, c *redistest.Control, what string) time.Duration {
	t.Helper()
	s.mu.Lock()
	whole, holes := s.hole, s.holes
	s.hole, s.holes = 0, nil
	s.mu.Unlock()
	own, stalls := min(whole, holeWorth), c.Stalls()
	for _, h := range holes {
		own = max(own, redistest.OwnTime(h.from, h.to, stalls))
	}
	t.Logf("%s: a topic was silent for %v at most, and for %v beside the control's stalls", what, whole, own)
	return own
}

// atPrimaries waits until nothing is published at replicas.
func (f *flow) atPrimaries(t *testing.T, c *fakecluster.Cluster) {
	t.Helper()
	var astray string
	for range 20 {
		counts := map[*fakecluster.Node]int{}
		for _, n := range c.Nodes() {
			counts[n] = n.Calls("SPUBLISH")
		}
		time.Sleep(500 * time.Millisecond)
		astray = ""
		for n, before := range counts {
			// What is left are probes and control documents.
			if calls := n.Calls("SPUBLISH") - before; calls > 8 && !n.IsPrimary() {
				astray = fmt.Sprintf("%d events were published at %v", calls, n)
			}
		}
		if astray == "" {
			return
		}
	}
	t.Error(astray)
}

// TestStandbyFoundLate: a primary hangs that has no replica when the pipeline begins, as for a moment after a fail-over.
// When one turns up, the pipeline does not wait for CommandTimeout.
func TestStandbyFoundLate(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
				cfg := redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true, CommandTimeout: 3 * time.Second}
				f := startFlowAt(t, cfg, 3, 20*time.Millisecond)
				lonely, replica := c.PrimaryFor(slotOf(0)), c.ReplicasFor(slotOf(0))[0]
				c.MoveReplica(replica, c.PrimaryFor(slotOf(1)))
				time.Sleep(3 * time.Second)
				f.flowing(t)
				f.sub.silence()
				c.Pause(lonely)
				time.Sleep(late)
				c.MoveReplica(replica, lonely)
				f.flowing(t)
				if hole, most := f.sub.silence(), max(late, redis.DefaultStandbyAfter)+150*time.Millisecond; hole > most {
					t.Errorf("a topic was silent for %v, want at most %v", hole, most)
				}
				c.Unpause(lonely)
				time.Sleep(time.Second)
				f.flowing(t)
				f.check(t)
			})
		})
	}
}

// TestStandbyRefusedAtReplicas: users are not replicated, so replicas may refuse the login, or the channels, that their
// primaries permit. That harms nobody, is tried again without haste, and when the permission is there Standby works.
func TestStandbyRefusedAtReplicas(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]struct {
		command string
		fault   fakecluster.Fault
	}{
		"the login": {"HELLO", fakecluster.Always(fakecluster.ReplyError("WRONGPASS invalid username-password pair or user is disabled."))},
		"channels":  {"SSUBSCRIBE", fakecluster.Always(fakecluster.ReplyError("NOPERM No permissions to access a channel"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
				var remove []func()
				for slot := range 3 {
					remove = append(remove, c.Fault(c.ReplicasFor(slotOf(slot))[0], refuse.command, refuse.fault))
				}
				f := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true}, 3, 20*time.Millisecond)
				f.sub.silence()
				before := c.Calls(refuse.command)
				time.Sleep(20 * time.Second)
				f.flowing(t)
				// Two transports, 3 replicas: each connection about once a second; and the askers of the topology, which both
				// have one for each node.
				if calls := c.Calls(refuse.command) - before; calls > 2*3*20*4 {
					t.Errorf("%s was tried %d times in 20s", refuse.command, calls)
				}
				if hole := f.sub.silence(); hole > 50*time.Millisecond {
					t.Errorf("a topic was silent for %v", hole)
				}
				dead := c.PrimaryFor(slotOf(0))
				c.Kill(dead)
				time.Sleep(time.Second)
				for _, permit := range remove {
					permit()
				}
				c.FailOver(c.Shard(slotOf(0)))
				f.flowing(t)
				c.Restart(dead)
				time.Sleep(5 * time.Second)
				f.flowing(t)
				f.sub.silence()
				c.Kill(c.PrimaryFor(slotOf(1)))
				time.Sleep(time.Second)
				f.flowing(t)
				if hole := f.sub.silence(); hole > 50*time.Millisecond {
					t.Errorf("permitted, a topic was silent for %v when its primary died", hole)
				}
				c.FailOver(c.Shard(slotOf(1)))
				f.flowing(t)
				f.check(t)
			})
		})
	}
}
