package fakecluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/shardbus/shardbus/router"
)

// Cluster is a Redis Cluster, or a standalone server, in memory. [New] makes one. Its methods may be called at once
// from several goroutines, but for those of tests only: what is misused is reported by t.Errorf.
type Cluster struct {
	t         testing.TB
	cfg       Config
	version   version
	backend   *miniredis.Miniredis // has the keys, of all nodes; its own lock is above mu
	dispatch  *server.Server       // the backend's commands
	commands  map[string]*command  // by name; see commandTable
	log       callLog
	faults    faults
	unknown   unmodelled
	running   sync.WaitGroup // every goroutine
	scripting sync.Mutex     // held while a script or transaction runs; above the backend's lock
	caller    *client        // whose it is; guarded by scripting

	// mu is held for moments only, never while waiting or writing to a connection.
	mu     sync.Mutex
	nodes  []*Node
	view   *view              // what the majority believes
	moves  map[int]*Migration // migrations, by slot
	lastID int                // of a client
	closed bool
}

// Close ends the cluster: all connections are closed, and all of its goroutines have ended when it returns. Calling it
// again does nothing; the test's end calls it.
func (c *Cluster) Close() {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	for _, n := range c.nodes {
		n.stopLocked()
		n.gate.open()
	}
	c.mu.Unlock()
	if closed {
		return
	}
	c.backend.CtxCancel() // ends commands that block
	c.running.Wait()
	c.backend.Close()
}

// nudge makes the backend's blocking commands look whether their client has gone.
func (c *Cluster) nudge() {
	peer, _ := c.peer(&reply{})
	c.dispatch.Dispatch(peer, []string{"PING"})
}

// Dial connects to the node at addr: over a net.Pipe, or over TCP with Config.TCP. It fails when there is no such node,
// when the node was killed, as if nobody listened, and when ctx has ended. A paused node accepts.
//
// Give it to what shall use the cluster; for rueidis:
//
//	option.DialCtxFn = func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
//		return cluster.Dial(ctx, addr)
//	}
func (c *Cluster) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("fakecluster: dial %s: %w", addr, err)
	}
	if c.cfg.TCP {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("fakecluster: %w", err)
		}
		return conn, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.addr == addr && n.up {
			near, far := net.Pipe()
			n.serveLocked(far)
			return near, nil
		}
	}
	return nil, fmt.Errorf("fakecluster: dial %s: connection refused", addr)
}

// Addrs returns the addresses of all nodes, primaries first, killed ones included.
func (c *Cluster) Addrs() []string {
	nodes := c.Nodes()
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.addr
	}
	return addrs
}

// Nodes returns all nodes in the order of their making: the first primaries, then their replicas. The order does not
// change with their roles.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Node(nil), c.nodes...)
}

// Node returns the node at addr; nil if there is none.
func (c *Cluster) Node(addr string) *Node {
	for _, n := range c.Nodes() {
		if n.addr == addr {
			return n
		}
	}
	return nil
}

// PrimaryFor returns the primary of a slot as the majority sees it; nil if there is none. [router.Slot] tells the slot of
// a channel or key.
func (c *Cluster) PrimaryFor(slot int) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.view.of(slot); s != nil {
		return s.primary
	}
	return nil
}

// ReplicasFor returns the replicas of a slot as the majority sees them.
func (c *Cluster) ReplicasFor(slot int) []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.view.of(slot); s != nil {
		return append([]*Node(nil), s.replicas...)
	}
	return nil
}

// Shard returns the number of a slot's shard, for FailOver: 0 to Config.Primaries-1; -1 if the slot has none.
func (c *Cluster) Shard(slot int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slot < 0 || slot >= router.Slots {
		return -1
	}
	return int(c.view.owner[slot])
}

// Advance moves the time to live of the keys ahead, for tests outside a bubble.
func (c *Cluster) Advance(d time.Duration) { c.backend.FastForward(d) }

// Subscribers returns how many connections of all nodes are subscribed to a shard channel.
func (c *Cluster) Subscribers(channel string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for _, n := range c.nodes {
		for cl := range n.clients {
			if cl.shard[channel] {
				count++
			}
		}
	}
	return count
}

// String lists the nodes with their roles and slots, for messages of failed tests.
func (c *Cluster) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, n := range c.nodes {
		b.WriteString(n.describeLocked(c.view))
		b.WriteByte('\n')
	}
	return b.String()
}
