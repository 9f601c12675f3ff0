package fakecluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// Node is one node of a Cluster: what has an address, connections and a view of the cluster.
type Node struct {
	cluster *Cluster
	index   int
	id      string
	addr    string

	// What follows is guarded by cluster.mu.
	up       bool
	isolated bool
	paused   bool
	since    time.Time // when up, isolated or paused last made it unavailable
	timer    *time.Timer
	latency  time.Duration
	gate     *gate
	view     *view // what it believes; that of the cluster while it is available
	clients  map[*client]struct{}
	scripts  map[string]bool // by SHA-1
	backlog  []message       // what the others sent it while it was paused
	listener net.Listener
}

// Addr is the node's address, host:port. It keeps it for life.
func (n *Node) Addr() string { return n.addr }

// ID is the node's name in the cluster, 40 hexadecimal digits.
func (n *Node) ID() string { return n.id }

// IsPrimary reports whether the majority has it as the primary of a shard.
func (n *Node) IsPrimary() bool {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	s, _ := n.cluster.view.home(n)
	return s != nil && s.primary == n
}

// Up reports whether it runs: it was not killed, or was restarted.
func (n *Node) Up() bool {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return n.up
}

// Connections returns how many clients are connected.
func (n *Node) Connections() int {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return len(n.clients)
}

// String is the node's role, address and slots.
func (n *Node) String() string {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return n.describeLocked(n.cluster.view)
}

func (n *Node) describeLocked(v *view) string {
	s, index := v.home(n)
	var b strings.Builder
	fmt.Fprintf(&b, "node %d %s", n.index, n.addr)
	switch {
	case s == nil:
		b.WriteString(" without a shard")
	case s.primary == n:
		fmt.Fprintf(&b, " primary of shard %d %v", index, v.ranges[index])
	default:
		fmt.Fprintf(&b, " replica of shard %d", index)
	}
	for state, is := range map[string]bool{" down": !n.up, " isolated": n.isolated, " paused": n.paused} {
		if is {
			b.WriteString(state)
		}
	}
	return b.String()
}

// availableLocked reports whether the majority can reach it.
func (n *Node) availableLocked() bool { return n.up && !n.isolated && !n.paused }

// hostPort splits the address.
func (n *Node) hostPort() (host, port string) {
	host, port, _ = net.SplitHostPort(n.addr) // it is ours, and well formed
	return host, port
}

// listen listens on an address of this machine.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

// listenLocked serves what a listener accepts.
func (n *Node) listenLocked(listener net.Listener) {
	n.listener = listener
	n.cluster.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.cluster.mu.Lock()
			n.serveLocked(conn)
			n.cluster.mu.Unlock()
		}
	})
}

// serveLocked makes a connection one of a client, unless the node is not up.
func (n *Node) serveLocked(conn net.Conn) {
	if !n.up || n.cluster.closed {
		closeConn(conn)
		return
	}
	n.cluster.lastID++
	cl := newClient(n, n.cluster.lastID, conn)
	n.clients[cl] = struct{}{}
	cl.start()
}

// stopLocked ends the process: its listener and all its connections.
func (n *Node) stopLocked() {
	n.up = false
	n.backlog = nil
	clear(n.scripts)
	if n.timer != nil {
		n.timer.Stop()
	}
	if n.listener != nil {
		closeConn(n.listener)
		n.listener = nil
	}
	for cl := range n.clients {
		cl.dropLocked()
	}
}

// closeConn closes what can only fail to close when it is closed already.
func closeConn(c interface{ Close() error }) { _ = c.Close() }

// gate holds up those who pass while it is shut.
type gate struct{ opened chan struct{} }

func openGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

func shutGate() *gate { return &gate{opened: make(chan struct{})} }

// open lets all pass. cluster.mu is held.
func (g *gate) open() {
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}

// pass waits until the node is not paused. It reports false when the client has gone meanwhile.
func (cl *client) pass() bool {
	cl.node.cluster.mu.Lock()
	g := cl.node.gate
	cl.node.cluster.mu.Unlock()
	select {
	case <-g.opened:
	case <-cl.gone:
		return false
	}
	select {
	case <-cl.gone:
		return false
	default:
		return true
	}
}

// failedLocked reports whether the nodes agree that n has failed.
func (c *Cluster) failedLocked(n *Node) bool {
	return !n.availableLocked() && time.Since(n.since) >= c.cfg.NodeTimeout
}

// downLocked reports whether node n says cluster_state:fail.
func (n *Node) downLocked() bool {
	c := n.cluster
	if n.isolated {
		return c.failedLocked(n)
	}
	for i := range n.view.shards {
		if p := n.view.shards[i].primary; p != n && len(n.view.ranges[i]) > 0 && c.failedLocked(p) {
			return true
		}
	}
	return n.view.holes
}

func (cl *client) hasScript(sum string) bool {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	return cl.node.scripts[strings.ToLower(sum)]
}
