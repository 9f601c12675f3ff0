package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestIsolatedPrimaryServers: a real primary is cut off from its cluster, not from its clients, and accepts what is
// published for ever. Publishers leave it all the same, and nothing that was accepted is missing, late by seconds, twice or
// out of order.
func TestIsolatedPrimaryServers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks a cluster: not in short mode")
	}
	if runtime.GOOS != "linux" {
		t.Skip("nodes can be cut off from each other on Linux only")
	}
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Replicas: 1, NodeTimeout: time.Second, Isolatable: true})
	control := redistest.NewControl(t)
	ctx := ownWithin(t, control)
	standby := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Standby: true}, 12, 5*time.Millisecond)
	standby.standingAt(t, c, 2)
	slot := router.Slot(standby.topics[0])
	alone := victim(ctx, t, c, slot)
	standby.sub.silence()

	if err := c.Isolate(alone); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitNewPrimary(ctx, slot, alone); err != nil {
		t.Fatal(err)
	}
	standby.flowing(t)
	eventually(t, "publishers to leave the isolated primary", func() error {
		before, err := published(alone)
		if err != nil {
			return err
		}
		for range 30 { // in which each topic has some events, and the node had hundreds
			standby.flowing(t)
		}
		after, err := published(alone)
		if err == nil && after > before+8 { // trial events, probes
			err = fmt.Errorf("%d events", after-before)
		}
		return err
	})
	if hole := standby.sub.ownSilence(t, control, "isolated"); hole > time.Second {
		t.Errorf("a topic was silent for %v", hole)
	}

	if err := c.Rejoin(alone); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	standby.flowing(t)
	standby.sub.ownSilence(t, control, "back")
	standby.check(t)
}

// published returns how many events were published at a node.
func published(s *redistest.Server) (n int, err error) {
	reply, err := s.Do(context.Background(), "INFO", "commandstats")
	if err != nil {
		return 0, err
	}
	text, _ := reply.(string)
	_, rest, found := strings.Cut(text, "cmdstat_spublish:calls=")
	if !found {
		return 0, nil
	}
	calls, _, _ := strings.Cut(rest, ",")
	return strconv.Atoi(calls)
}
