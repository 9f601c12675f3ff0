package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestHealthServers: a replica that was killed degrades a bus with Standby, and no other, and both are ready. A primary
// that was killed is named, by the error of Ready too, until another has taken its place; then both are well again.
func TestHealthServers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks a cluster: not in short mode")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // three changes of the cluster, one after the other
	defer cancel()
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Replicas: 1, NodeTimeout: 1500 * time.Millisecond})
	buses := map[string]*bus.Bus{
		"plain": newBusWith(t, redis.Config{Addrs: c.Addrs()}), "standby": newBusWith(t, redis.Config{Addrs: c.Addrs(), Standby: true}),
	}
	topic := map[string]*bus.Topic[int]{}
	arrived := make(chan string, 100)
	for name, b := range buses {
		topic[name] = newTopic(t, b, bus.TopicConfig[int]{Name: "health." + name, Partitions: 12, Key: func(i int) string { return fmt.Sprint(i) }})
		if _, err := topic[name].Subscribe(ctx, "s", func(context.Context, int) error {
			arrived <- name
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	well := func(when string) {
		t.Helper()
		for name, b := range buses {
			if err := b.Ready(ctx); err != nil {
				t.Fatalf("%s, %s: %v", name, when, err)
			}
			eventually(t, name+" "+when, func() error {
				if h := b.Health(); len(h.Degraded) > 0 {
					return fmt.Errorf("degraded: %v", h.Degraded)
				}
				return nil
			})
		}
	}
	well("in the beginning")

	primary := victim(ctx, t, c, router.Slot("health.plain"))
	replicas, err := c.Replicas(ctx, primary)
	if err != nil || len(replicas) != 1 {
		t.Fatal(replicas, err)
	}
	if err := replicas[0].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "who stands by notices that a replica is gone", func() error {
		h := buses["standby"].Health()
		if len(h.Degraded) == 0 || h.Ready() != nil {
			return fmt.Errorf("degraded: %v, ready: %w", h.Degraded, h.Ready())
		}
		return nil
	})
	if h := buses["plain"].Health(); len(h.Degraded) > 0 {
		t.Errorf("without Standby: %v", h.Degraded)
	}
	if err := replicas[0].Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	well("when the replica is back")

	// The replica takes over when all have seen that the primary is away, not before.
	failOver := func(forbidden string) {
		t.Helper()
		if _, err := replicas[0].Do(ctx, "CONFIG", "SET", "cluster-replica-no-failover", forbidden); err != nil {
			t.Fatal(err)
		}
	}
	failOver("yes")
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, b := range buses {
		eventually(t, name+" notices that a primary is gone", func() error {
			if err := b.Health().Ready(); err == nil || !strings.Contains(err.Error(), "shard "+primary.Addr()) {
				return fmt.Errorf("ready: %w", err)
			}
			return nil
		})
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := b.Ready(short)
		cancel()
		if !errors.Is(err, bus.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "shard "+primary.Addr()) {
			t.Errorf("%s: Ready while a primary is gone: %v", name, err)
		}
		if err := b.Health().Live(); err != nil {
			t.Errorf("%s: a broker that is away kills the process: %v", name, err)
		}
	}
	failOver("no")
	if _, err := c.WaitNewPrimary(ctx, router.Slot("health.plain"), primary); err != nil {
		t.Fatal(err)
	}
	for name, b := range buses {
		if err := b.Ready(ctx); err != nil {
			t.Fatalf("%s, after the fail-over: %v", name, err)
		}
		for i := range 24 {
			if err := topic[name].Publish(ctx, i); err != nil {
				t.Errorf("%s: ready, but event %d: %v", name, i, err)
			}
		}
	}
	for n := range 48 {
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatalf("%d events of 48 have arrived", n)
		}
	}
	eventually(t, "who stands by misses a replica", func() error {
		if h := buses["standby"].Health(); len(h.Degraded) == 0 {
			return errors.New("nothing is degraded")
		}
		return nil
	})
	if err := primary.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	well("when the primary is back as a replica")
}
