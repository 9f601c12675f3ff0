package fakecluster

import (
	"context"
	"fmt"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/shardbus/shardbus/router"
)

// New starts a cluster for the test, which ends with it: t.Cleanup closes it. A Config that makes no sense fails the
// test at once. Inside a synctest bubble the cluster lives on the bubble's time.
func New(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	cfg, v, err := cfg.resolved()
	if err != nil {
		t.Fatalf("fakecluster: %v", err)
	}
	c := &Cluster{t: t, cfg: cfg, version: v, commands: commandTable(), moves: make(map[int]*Migration)}
	c.backend = miniredis.NewMiniRedis()
	c.backend.ClockTTL(true)
	// The first Dial starts the backend without a listener. Nobody uses the connection.
	conn, err := c.backend.Dial()
	if err != nil {
		t.Fatalf("fakecluster: start the backend: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatalf("fakecluster: start the backend: %v", err)
	}
	c.dispatch = c.backend.Server()
	c.dispatch.SetPreHook(c.beforeBackend)
	t.Cleanup(c.Close)
	if err := c.start(t.Context()); err != nil {
		t.Fatalf("fakecluster: %v", err)
	}
	return c
}

// start makes the nodes.
func (c *Cluster) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := &view{epoch: uint64(c.cfg.Primaries), shards: make([]shard, c.cfg.Primaries)}
	for i := range c.cfg.Primaries * (1 + c.cfg.Replicas) {
		n := &Node{cluster: c, index: i, clients: make(map[*client]struct{}), scripts: make(map[string]bool), gate: openGate()}
		n.id = fmt.Sprintf("%040x", 0xfa4e0000+i)
		n.addr = fmt.Sprintf("192.0.2.%d:6379", i+1)
		if c.cfg.TCP {
			listener, err := listen(ctx, "127.0.0.1:0")
			if err != nil {
				return err
			}
			n.addr = listener.Addr().String()
			n.listenLocked(listener)
		}
		n.up = true
		c.nodes = append(c.nodes, n)
		s := &first.shards[i%c.cfg.Primaries]
		if i < c.cfg.Primaries {
			s.id, s.primary, s.epoch = fmt.Sprintf("%040x", 0x54a2d000+i), n, uint64(i+1)
			continue
		}
		s.replicas = append(s.replicas, n)
	}
	for slot := range first.owner {
		first.owner[slot] = int16(slot * c.cfg.Primaries / router.Slots)
	}
	c.view = first.derive()
	for _, n := range c.nodes {
		n.view = first
	}
	return nil
}
