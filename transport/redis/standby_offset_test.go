package redis_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestStandbyReplicasWithoutOffset: replicas whose replication offset is 0, which CLUSTER SLOTS leaves out, are as good as
// others: those of a cluster that was just made, and that of a primary that was killed, came back empty at once, and hangs
// soon after. No primary is replaced within the test, so whatever arrives while one is stopped came through its replica.
func TestStandbyReplicasWithoutOffset(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks a cluster: not in short mode")
	}
	ctx := within(t)
	c := redistest.NewCluster(t, redistest.ClusterConfig{
		// Its offset stays 0 until the primary pings it, every 10 s as servers come.
		Config:    redistest.Config{Directives: []string{"repl-ping-replica-period 3600"}},
		Primaries: 3, Replicas: 1, NodeTimeout: 10 * time.Minute,
	})
	cfg := redis.Config{Addrs: c.Addrs(), Standby: true}
	f := startFlowAt(t, cfg, 12, flowEvery)
	healthy := func(when string) {
		t.Helper()
		f.standingAt(t, c, 2)
		for _, finding := range check(t, cfg).Findings {
			if finding.Subject == "replicas" || finding.Subject == "views" || finding.Subject == "members" {
				t.Errorf("%s: %s", when, finding)
			}
		}
	}
	p := victim(ctx, t, c, router.Slot(f.topics[0]))
	empty := p // another one
	for _, topic := range f.topics {
		if empty == p {
			empty = victim(ctx, t, c, router.Slot(topic))
		}
	}
	hang := func(p *redistest.Server, when string) {
		t.Helper()
		f.sub.silence()
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		f.arrives(t, when)
		t.Logf("%s: a topic was silent for %v at most", when, f.sub.silence())
		if err := p.Cont(); err != nil {
			t.Fatal(err)
		}
		f.flowing(t)
	}

	named, err := namedReplicas(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("CLUSTER SLOTS names %d of 3 replicas of a cluster that was just made", named) // 0, or 2 on Valkey 9
	healthy("a cluster that was just made")
	hang(p, "a cluster that was just made")

	if err := empty.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := empty.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	healthy("a primary came back empty")
	f.backAt(t, c, empty)
	hang(empty, "a primary came back empty")

	for _, s := range []*redistest.Server{p, empty} {
		if primaries, err := c.Primaries(ctx); err != nil || !slices.Contains(primaries, s) {
			t.Errorf("%s is no primary any more (%v)", s.Addr(), err)
		}
	}
	f.check(t)
}

// arrives publishes an event on each topic, and waits until all are received.
func (f *flow) arrives(t *testing.T, id string) {
	t.Helper()
	var publishing sync.WaitGroup
	for _, topic := range f.topics {
		publishing.Go(func() { f.publish(topic, id, patience) })
	}
	publishing.Wait()
	f.sub.await(t, "events on every topic, published from now on", func() bool {
		arrived := 0
		for _, env := range f.sub.events {
			if env.ID == id {
				arrived++
			}
		}
		return arrived >= len(f.topics)
	})
}

// backAt waits until events are published at a primary, and not at its replica.
func (f *flow) backAt(t *testing.T, c *redistest.Cluster, primary *redistest.Server) {
	t.Helper()
	ctx := within(t)
	replicas, err := c.Replicas(ctx, primary)
	if err != nil || len(replicas) == 0 {
		t.Fatalf("replicas of %s: %v, %v", primary.Addr(), replicas, err)
	}
	var before [2]int
	eventually(t, "events at the primary", func() error {
		var now [2]int
		for i, s := range []*redistest.Server{primary, replicas[0]} {
			if now[i], err = published(s); err != nil {
				return err
			}
		}
		here, there := now[0]-before[0], now[1]-before[1]
		if before, now = now, before; now == [2]int{} || here < 5 || there > 1 { // probes are published, too
			return fmt.Errorf("%d events at the primary, %d at the replica", here, there)
		}
		return nil
	})
}

// namedReplicas counts the replicas in CLUSTER SLOTS.
func namedReplicas(ctx context.Context, s *redistest.Server) (n int, err error) {
	reply, err := s.Do(ctx, "CLUSTER", "SLOTS")
	if err != nil {
		return 0, err
	}
	lines, _ := reply.([]any)
	for _, line := range lines {
		words, ok := line.([]any)
		if !ok || len(words) < 3 {
			return 0, fmt.Errorf("CLUSTER SLOTS: %v", line)
		}
		n += len(words) - 3
	}
	return n, nil
}
