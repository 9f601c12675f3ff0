package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// subscribers returns how often each shard's subscriber was started.
func subscribers(n *node) map[string]uint64 {
	starts := map[string]uint64{}
	var walk func(path string, tree supervisor.Tree)
	walk = func(path string, tree supervisor.Tree) {
		if tree.Name == "subscriber" {
			starts[path] = tree.Incarnation
		}
		for _, child := range tree.Children {
			walk(tree.Name, child)
		}
	}
	walk("", n.Tree())
	return starts
}

// seen publishes until an event arrives, and returns how long that took.
func (n *node) seen(t testing.TB, topic string) time.Duration {
	t.Helper()
	n.mu.Lock()
	before := n.at[topic]
	n.mu.Unlock()
	began := time.Now()
	for time.Since(began) < time.Minute {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		n.publish(ctx, transport.Envelope{Topic: topic, Publisher: "p", ID: "x"})
		cancel()
		n.mu.Lock()
		at := n.at[topic]
		n.mu.Unlock()
		if at.After(before) {
			return at.Sub(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nothing arrives any more")
	return 0
}

// deafConn lets replies through, and pushes of messages only while it hears.
type deafConn struct {
	net.Conn
	in   *bufio.Reader
	rest bytes.Buffer
	deaf *atomic.Bool
}

func (c *deafConn) Read(p []byte) (int, error) {
	for c.rest.Len() == 0 {
		var frame bytes.Buffer
		if err := copyFrame(&frame, c.in); err != nil {
			return 0, err
		}
		if c.deaf.Load() && bytes.Contains(frame.Bytes(), []byte("smessage\r\n")) {
			continue
		}
		c.rest.Write(frame.Bytes())
	}
	return c.rest.Read(p)
}

// copyFrame copies one RESP value.
func copyFrame(to *bytes.Buffer, from *bufio.Reader) error {
	line, err := from.ReadString('\n')
	if err != nil {
		return err
	}
	to.WriteString(line)
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$':
		if n >= 0 {
			_, err = io.CopyN(to, from, int64(n)+2)
		}
		return err
	case '%':
		n *= 2
	case '*', '>', '~':
	default:
		return nil
	}
	for range n {
		if err := copyFrame(to, from); err != nil {
			return err
		}
	}
	return nil
}

// unrepaired leaves a process without control channels, which would be subscriptions on every shard.
var unrepaired = redis.Repair{Off: true}

// TestDeafConnection: replies arrive, events do not. Pings see nothing of it.
func TestDeafConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		var deaf atomic.Bool
		n := serve(t, redis.Config{Addrs: c.Addrs(), Repair: unrepaired, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := c.Dial(ctx, addr)
			return &deafConn{Conn: conn, in: bufio.NewReader(conn), deaf: &deaf}, err
		}})
		n.subscribe(t, transport.Topic{Name: "orders"})
		time.Sleep(time.Minute)
		before := subscribers(n)
		deaf.Store(true)
		began := time.Now()
		for fmt.Sprint(subscribers(n)) == fmt.Sprint(before) {
			if time.Since(began) > time.Minute {
				t.Fatal("nobody notices")
			}
			time.Sleep(time.Millisecond)
		}
		if took, limit := time.Since(began), redis.DefaultProbeInterval*5/4+redis.DefaultProbeTimeout*9/8; took > limit {
			t.Errorf("noticed after %v, want %v at most", took, limit)
		} else {
			t.Logf("noticed after %v", took)
		}
		deaf.Store(false)
		n.seen(t, "orders")
		for path, starts := range subscribers(n) {
			if path != "shard "+c.PrimaryFor(router.Slot("orders")).Addr() && starts != 1 {
				t.Errorf("%s was started %d times; it has no subscriptions and no trouble", path, starts)
			}
		}
	})
}

// TestAddressLeadsElsewhere: behind a virtual address another server takes over, and the old one, which is isolated, stays
// up. The publisher loses its connection; the subscriber's lives and hears nothing.
func TestAddressLeadsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		old := fakecluster.New(t, fakecluster.Config{Standalone: true})
		next := fakecluster.New(t, fakecluster.Config{Standalone: true})
		var over atomic.Bool
		n := serve(t, redis.Config{Addrs: []string{"virtual:6379"}, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			if over.Load() {
				return next.Dial(ctx, next.Addrs()[0])
			}
			return old.Dial(ctx, old.Addrs()[0])
		}})
		n.subscribe(t, transport.Topic{Name: "orders"})
		n.seen(t, "orders")
		time.Sleep(10 * time.Second)
		over.Store(true)
		old.KillClients(old.Nodes()[0], "normal")
		if took := n.seen(t, "orders"); took > 500*time.Millisecond {
			t.Errorf("back after %v: the publisher's new connection was reason enough to look", took)
		} else {
			t.Logf("back after %v", took)
		}
	})
}

// TestPausedAndIsolated: a primary that hangs, or that the others cannot see, is left as soon as there is another one;
// and one that only hung for a while is used again.
func TestPausedAndIsolated(t *testing.T) {
	for _, fault := range []struct {
		name         string
		inject, mend func(*fakecluster.Cluster, *fakecluster.Node)
	}{
		{"paused", (*fakecluster.Cluster).Pause, (*fakecluster.Cluster).Unpause},
		{"isolated", (*fakecluster.Cluster).Isolate, (*fakecluster.Cluster).Rejoin},
	} {
		t.Run(fault.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				const failOver = 2 * time.Second
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1, FailOverAfter: failOver})
				n := serve(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
				n.subscribe(t, transport.Topic{Name: "orders"})
				n.seen(t, "orders")
				node := c.PrimaryFor(router.Slot("orders"))
				began := time.Now()
				fault.inject(c, node)
				for c.PrimaryFor(router.Slot("orders")) == node {
					time.Sleep(time.Millisecond)
				}
				n.seen(t, "orders")
				t.Logf("back %v after the new primary", time.Since(began)-failOver)
				if took := time.Since(began) - failOver; took > 1200*time.Millisecond {
					t.Errorf("back %v after there was a new primary", took)
				}
				fault.mend(c, node)
				time.Sleep(time.Minute)
				n.seen(t, "orders")
			})
		})
	}
}

// TestProbesAreFewAndRight: in quiet hours nothing is restarted, and a process without subscriptions probes nothing.
func TestProbesAreFewAndRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		cfg := redis.Config{Addrs: c.Addrs(), Repair: unrepaired, Dial: c.Dial}
		n, idle := serve(t, cfg), serve(t, cfg)
		time.Sleep(time.Second)
		idleCalls := c.Calls("SPUBLISH")
		time.Sleep(time.Minute)
		if got := c.Calls("SPUBLISH") - idleCalls; got > 0 {
			t.Errorf("%d events a minute where nothing is subscribed to", got)
		}
		n.subscribe(t, transport.Topic{Name: "orders"})
		before := c.Calls("SPUBLISH")
		time.Sleep(10 * time.Minute)
		if got, want := c.Calls("SPUBLISH")-before, int(10*time.Minute/redis.DefaultProbeInterval); got < want*3/4 || got > want*5/4 {
			t.Errorf("%d probes in ten minutes, want about %d", got, want)
		}
		for _, one := range []*node{n, idle} {
			for path, starts := range subscribers(one) {
				if starts != 1 {
					t.Errorf("%s was started %d times", path, starts)
				}
			}
		}
	})
}

// TestProbeFollowsItsSlots: migrations and fail-overs take a probe's channel away; that is no reason to reconnect.
func TestProbeFollowsItsSlots(t *testing.T) {
	for _, version := range []string{"7.0.15", "7.2.4"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Version: version})
				n := serve(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
				n.subscribe(t, transport.Topic{Name: "orders"}) // slot 105
				time.Sleep(10 * time.Second)
				for from := 200; from < 5400; from += 400 {
					c.MigrateSlots(from, from+399, c.Nodes()[1])
					time.Sleep(3 * time.Second)
				}
				n.seen(t, "orders")
				for path, starts := range subscribers(n) {
					if starts != 1 {
						t.Errorf("%s was started %d times", path, starts)
					}
				}
			})
		})
	}
}

// TestProbesRefused: a user who may not use the probes' channels does without.
func TestProbesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		var asked atomic.Int64
		c.Fault(nil, "SSUBSCRIBE", func(call fakecluster.Call) fakecluster.Outcome {
			if strings.Contains(strings.Join(call.Args, " "), ":shardbus:probe:") {
				asked.Add(1)
				return fakecluster.ReplyError("NOPERM no permission to access one of the channels used as arguments")
			}
			return fakecluster.Pass()
		})
		n := serve(t, redis.Config{Addrs: c.Addrs(), Repair: unrepaired, Dial: c.Dial})
		n.subscribe(t, transport.Topic{Name: "orders"})
		time.Sleep(time.Minute)
		n.seen(t, "orders")
		if got := asked.Load(); got != 1 {
			t.Errorf("asked %d times, want 1", got)
		}
		for path, starts := range subscribers(n) {
			if starts != 1 {
				t.Errorf("%s was started %d times", path, starts)
			}
		}
	})
}
