package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// shards returns the names of the children of a transport that are shards, joined.
func shards(n *node) string {
	var names []string
	for _, child := range n.Tree().Children {
		if addr, ok := strings.CutPrefix(child.Name, "shard "); ok {
			names = append(names, addr)
		}
	}
	return strings.Join(names, " ")
}

// TestAnnouncedAddresses: where a node is said to be in CLUSTER SLOTS, in every form that there is.
func TestAnnouncedAddresses(t *testing.T) {
	const id = "0123456789012345678901234567890123456789"
	metadata := func(words ...string) string {
		text := fmt.Sprintf("*%d\r\n", len(words))
		for _, w := range words {
			text += bulk(w)
		}
		return text
	}
	for _, c := range []struct{ name, endpoint, port, metadata, want string }{
		{"IPv4", bulk("10.0.0.1"), "7000", metadata(), "10.0.0.1:7000"},
		{"IPv6", bulk("2001:db8::1"), "7000", metadata(), "[2001:db8::1]:7000"},
		{"hostname", bulk("node-1.test"), "7000", metadata("ip", "10.0.0.1"), "node-1.test:7000"},
		{"the same host", "_\r\n", "7000", metadata(), "127.0.0.1:7000"},
		{"the same host, of old", "$-1\r\n", "7000", metadata(), "127.0.0.1:7000"},
		{"empty", bulk(""), "7000", metadata(), "127.0.0.1:7000"},
		{"no hostname yet", bulk("?"), "7000", metadata("ip", "10.0.0.1"), "10.0.0.1:7000"},
		{"nothing known", bulk("?"), "7000", metadata("hostname", ""), ""},
		{"no port", bulk("10.0.0.1"), "0", metadata(), ""},
		{"a port that is none", bulk("10.0.0.1"), "70000", metadata(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			slots := "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n" + c.endpoint + ":" + c.port + "\r\n" + bulk(id) + c.metadata
			addr := fakeServer(t, map[string]string{
				"HELLO":   "%2\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n",
				"INFO":    bulk("redis_version:7.0.0\r\nredis_mode:cluster\r\ncluster_enabled:1\r\n"),
				"CLUSTER": slots,
			})
			n := serve(t, redis.Config{Addrs: []string{addr}, Dial: func(ctx context.Context, to string) (net.Conn, error) {
				if to != addr {
					return nil, errors.New("it is not there")
				}
				return new(net.Dialer).DialContext(ctx, "tcp", to)
			}})
			eventually(t, "the shards", func() error {
				if got := shards(n); got != c.want || len(n.Tree().Children) == 0 {
					return fmt.Errorf("%q, want %q", got, c.want)
				}
				return nil
			})
		})
	}
}

// TestClusterMoves lets nodes join, move and leave, and then every address change at once, to IPv6, while events flow.
func TestClusterMoves(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes servers of its own: not in short mode")
	}
	ctx := within(t)
	if l, err := new(net.ListenConfig).Listen(ctx, "tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := redistest.NewCluster(t, redistest.ClusterConfig{
		Config: redistest.Config{Directives: []string{"bind 127.0.0.1 ::1"}}, Primaries: 3, Replicas: 1,
	})
	var gone atomic.Bool // IPv4
	first := c.Nodes()[0]
	cfg := redis.Config{
		Addrs: []string{first.Addr(), fmt.Sprintf("[::1]:%d", first.Port())},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			if gone.Load() && !strings.HasPrefix(addr, "[::1]") {
				return nil, errors.New("there is no IPv4 any more")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
	f := startFlowAt(t, cfg, flowTopics, flowEvery)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	joined, err := c.AddPrimary(ctx)
	must(err)
	slot := router.Slot(f.topics[0])
	from, err := c.PrimaryFor(ctx, slot)
	must(err)
	must(c.MigrateSlot(ctx, slot, joined))
	f.flowing(t)
	eventually(t, "the new primary", func() error {
		if got := shards(f.sub); !strings.Contains(got, joined.Addr()) {
			return errors.New(got)
		}
		return nil
	})
	replicas, err := c.Replicas(ctx, from)
	must(err)
	must(c.Replicate(ctx, replicas[0], joined))
	f.flowing(t)
	must(c.MigrateSlot(ctx, slot, from))
	must(c.Replicate(ctx, replicas[0], from))
	must(c.Remove(ctx, joined))
	f.flowing(t)
	eventually(t, "the end of the removed primary", func() error {
		if got := shards(f.sub); strings.Contains(got, joined.Addr()) {
			return errors.New(got)
		}
		return nil
	})

	for _, s := range c.Nodes() {
		do(t, s, "CONFIG", "SET", "cluster-announce-ip", "::1")
	}
	eventually(t, "the new addresses", func() error {
		if got := shards(f.sub) + " " + shards(f.pub); strings.Contains(got, "127.0.0.1") {
			return errors.New(got)
		}
		return nil
	})
	gone.Store(true)
	for _, s := range c.Nodes() {
		for _, kind := range []string{"normal", "pubsub"} {
			_, err := s.KillClients(ctx, kind)
			must(err)
		}
	}
	f.flowing(t)
	// Nodes that shall have hostnames and have none, and nodes that do not say where they are: ours are on one host.
	for _, how := range []string{"hostname", "unknown-endpoint"} {
		for _, s := range c.Nodes() {
			do(t, s, "CONFIG", "SET", "cluster-preferred-endpoint-type", how)
		}
		f.flowing(t)
		if got := shards(f.sub); strings.Count(got, "[::1]:") != 3 {
			t.Errorf("%s: %s", how, got)
		}
	}
	f.check(t)
}
