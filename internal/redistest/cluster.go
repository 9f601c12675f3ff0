package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// A Cluster is a Redis Cluster of servers of ours. All methods may be called
// by several goroutines at once; what they change is then up to the order the
// servers see.
type Cluster struct {
	cfg ClusterConfig

	exchange *exchange // nil: nodes talk to each other directly

	mu      sync.Mutex // guards what follows
	nodes   []*Server  // in the order they were started
	ids     map[*Server]string
	sources map[*Server]string // where nodes call from, with an exchange
	started int                // nodes there ever were
	closed  bool
}

// StartCluster starts a cluster and returns when it is healthy (see
// [Cluster.WaitHealthy]), which takes 2 to 3 s: a primary waits 2 s after its
// start before it serves. The primaries are the first of Nodes and own equal
// contiguous shares of the slots in that order. The cluster lives until Close,
// not until ctx ends. After an error nothing is left behind.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, ids: make(map[*Server]string), sources: make(map[*Server]string)}
	if cfg.Isolatable {
		c.exchange = newExchange()
	}
	if err := c.form(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// form starts the nodes and makes a cluster of them.
func (c *Cluster) form(ctx context.Context) error {
	total := c.cfg.Primaries * (1 + c.cfg.Replicas)
	nodes, err := c.startNodes(ctx, total)
	if err != nil {
		return err
	}
	shares := shareOut(c.cfg.Primaries)
	err = inParallel(total, func(i int) error {
		// Distinct from the start, or the nodes would have to sort them out. A
		// node accepts it only until somebody has met it.
		commands := [][]string{{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}}
		if i < c.cfg.Primaries {
			commands = append(commands, []string{
				"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(shares[i].First), strconv.Itoa(shares[i].Last),
			})
		}
		return nodes[i].all(ctx, commands...)
	})
	if err != nil {
		return err
	}
	err = inParallel(total, func(i int) error {
		// Everybody meets everybody: gossip alone would take seconds.
		var commands [][]string
		for _, other := range nodes[:i] {
			commands = append(commands, meet(other))
		}
		return nodes[i].all(ctx, commands...)
	})
	if err != nil {
		return err
	}
	err = inParallel(total-c.cfg.Primaries, func(i int) error {
		return c.follow(ctx, nodes[c.cfg.Primaries+i], nodes[i%c.cfg.Primaries])
	})
	if err != nil {
		return err
	}
	return c.WaitHealthy(ctx)
}

// startNodes starts n more nodes, side by side, and returns them; after an
// error some may have started, and are closed with the cluster.
func (c *Cluster) startNodes(ctx context.Context, n int) ([]*Server, error) {
	started := make([]*Server, n)
	ids := make([]string, n)
	sources := make([]string, n)
	c.mu.Lock()
	for i := range sources {
		sources[i] = sourceAddr(c.started)
		c.started++
	}
	c.mu.Unlock()
	err := inParallel(n, func(i int) error {
		s, err := c.startNode(ctx, sources[i])
		if err != nil {
			return err
		}
		started[i] = s
		ids[i], err = s.text(ctx, "CLUSTER", "MYID")
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range started {
		if s == nil {
			continue
		}
		if c.closed {
			err = errors.Join(err, ErrClosed, s.Close())
			continue
		}
		c.nodes = append(c.nodes, s)
		c.ids[s] = ids[i]
		c.sources[s] = sources[i]
	}
	return started, err
}

// startNode starts one node, which calls the others from an address if the bus
// goes through an exchange.
func (c *Cluster) startNode(ctx context.Context, source string) (*Server, error) {
	extra := []string{"cluster-node-timeout " + strconv.FormatInt(c.cfg.NodeTimeout.Milliseconds(), 10)}
	if c.exchange == nil {
		return startServer(ctx, modeCluster, c.cfg.Config, extra)
	}
	var self atomic.Pointer[Server]
	port, err := c.exchange.add(source, func() int {
		if s := self.Load(); s != nil {
			return s.BusPort()
		}
		return 0 // nobody knows of it yet
	})
	if err != nil {
		return nil, err
	}
	// Its replicas call from addresses that are not 127.0.0.1 either.
	extra = append(extra, "cluster-announce-bus-port "+strconv.Itoa(port), "bind-source-addr "+source, "protected-mode no")
	s, err := startServer(ctx, modeCluster, c.cfg.Config, extra)
	self.Store(s)
	return s, err
}

// meet is the command that introduces a node to another; the bus port is told
// because it is not the usual one.
func meet(other *Server) []string {
	return []string{"CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.Port()), strconv.Itoa(other.BusPort())}
}

// all sends the commands and returns the first error among the replies.
func (s *Server) all(ctx context.Context, commands ...[]string) error {
	replies, err := s.Pipeline(ctx, commands...)
	if err != nil {
		return err
	}
	for i, r := range replies {
		if e, ok := r.(ReplyError); ok {
			return fmt.Errorf("redistest: %q on %s: %w", commands[i], s.Addr(), e)
		}
	}
	return nil
}

// inParallel calls f for 0 to n-1 at once and joins the errors.
func inParallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Nodes returns all nodes in the order they were started, dead ones too. The
// slice is the caller's.
func (c *Cluster) Nodes() []*Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Addrs returns the client addresses of all nodes, dead ones too.
func (c *Cluster) Addrs() []string {
	nodes := c.Nodes()
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// Node returns the node with the client address, or nil.
func (c *Cluster) Node(addr string) *Server {
	for _, n := range c.Nodes() {
		if n.Addr() == addr {
			return n
		}
	}
	return nil
}

// ID returns the node's ID in the cluster; empty for a node of another one.
func (c *Cluster) ID(node *Server) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[node]
}

// Close kills all nodes and removes their directories. Closing again does
// nothing.
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed = true
	nodes := slices.Clone(c.nodes)
	c.mu.Unlock()
	if c.exchange != nil {
		defer c.exchange.close()
	}
	return inParallel(len(nodes), func(i int) error { return nodes[i].Close() })
}
