package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestStandbyServers is TestStandby with real servers, whose cluster bus takes its time: a primary with two replicas is
// killed, its successor, with one, is stopped, and a third takes over in good order. The holes are told; what is checked is
// that nothing is missing, and that no fail-over was waited for.
func TestStandbyServers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks a cluster: not in short mode")
	}
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Replicas: 2, NodeTimeout: 1500 * time.Millisecond})
	control := redistest.NewControl(t)
	ctx := ownWithin(t, control)
	f := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Standby: true}, 12, 5*time.Millisecond)
	f.standing(t, c)
	watch := func(what string) {
		t.Helper()
		f.flowing(t)
		if hole := f.sub.ownSilence(t, control, what); hole > 1500*time.Millisecond {
			t.Errorf("%s: a topic was silent for %v", what, hole)
		}
	}
	watch("nothing")

	killed := victim(ctx, t, c, 0)
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	stopped, err := c.WaitNewPrimary(ctx, 0, killed)
	if err != nil {
		t.Fatal(err)
	}
	watch("kill -9 of a primary with two replicas")

	if err := stopped.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitNewPrimary(ctx, 0, stopped); err != nil {
		t.Fatal(err)
	}
	watch("SIGSTOP of a primary with one replica")
	if err := stopped.Cont(); err != nil {
		t.Fatal(err)
	}
	if err := killed.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	f.standing(t, c)
	watch("both come back")

	if err := c.FailOver(ctx, killed, redistest.Graceful); err != nil {
		t.Fatal(err)
	}
	watch("a graceful fail-over")
	f.check(t)
}

// standing waits until every node of a shard is subscribed to, where there are events.
func (f *flow) standing(t *testing.T, c *redistest.Cluster) {
	t.Helper()
	f.standingAt(t, c, 3)
}

// standingAt waits until every topic is subscribed to at n nodes.
func (f *flow) standingAt(t *testing.T, c *redistest.Cluster, n int) {
	t.Helper()
	ctx := within(t)
	eventually(t, "subscriptions at every node", func() error {
		for _, topic := range f.topics {
			nodes := 0
			for _, s := range c.Nodes() {
				reply, err := s.Do(ctx, "PUBSUB", "SHARDNUMSUB", topic)
				if err != nil {
					return err
				}
				if pair, ok := reply.([]any); ok && len(pair) == 2 && pair[1] == int64(1) {
					nodes++
				}
			}
			if nodes < n {
				return fmt.Errorf("%s is subscribed to at %d nodes", topic, nodes)
			}
		}
		return nil
	})
}

// TestStandbyNowhere: without a cluster there is nowhere to go, and Open says so.
func TestStandbyNowhere(t *testing.T) {
	t.Parallel()
	s := redistest.Standalone(t, redistest.Config{})
	for name, cfg := range map[string]redis.Config{
		"standalone":     {Addrs: []string{s.Addr()}, Standby: true},
		"sentinels":      {Sentinel: redis.Sentinel{Addrs: []string{s.Addr()}, Primary: "main"}, Standby: true},
		"without Repair": {Addrs: []string{s.Addr()}, Standby: true, Repair: redis.Repair{Off: true}},
	} {
		tr, err := redis.Open(t.Context(), cfg)
		if err == nil {
			_ = tr.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		t.Logf("%s: %v", name, err)
	}
}

// TestStandbyMigrationServers: slots move between real primaries that publishers and subscribers have replicas of: one at
// a time, many at once, and back and forth. What is subscribed at the replicas
// of the old owner, and of the new one, makes nothing twice, late or missing.
func TestStandbyMigrationServers(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	c := faultCluster(t)
	f := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Standby: true}, 12, 5*time.Millisecond)
	f.standingAt(t, c, 2)
	owner := func(topic string) *redistest.Server { return victim(ctx, t, c, router.Slot(topic)) }
	for i, topic := range f.topics[:6] {
		from := owner(topic)
		to := owner(f.topics[(i+1)%len(f.topics)])
		for j := 2; to == from; j++ {
			to = owner(f.topics[(i+j)%len(f.topics)])
		}
		if i%3 == 2 { // and back again at once
			if err := c.MigrateSlot(ctx, router.Slot(topic), to); err != nil {
				t.Fatal(err)
			}
			from, to = to, from
		}
		if err := c.MigrateSlot(ctx, router.Slot(topic), to); err != nil {
			t.Fatal(err)
		}
		f.flowing(t)
		t.Logf("slot %d from %s to %s: a topic was silent for %v at most", router.Slot(topic), from.Addr(), to.Addr(), f.sub.silence())
	}
	from := owner(f.topics[0])
	to := owner(f.topics[1])
	for i := 2; to == from; i++ {
		to = owner(f.topics[i])
	}
	if err := c.MigrateSlots(ctx, from, to, 2000); err != nil {
		t.Fatal(err)
	}
	f.flowing(t)
	t.Logf("2000 slots: a topic was silent for %v at most", f.sub.silence())
	f.standingAt(t, c, 2)
	f.check(t)
}
