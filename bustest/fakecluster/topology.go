package fakecluster

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
)

// Kill ends a node as kill -9 does: its connections are closed, with what was not written yet, and it refuses new ones.
// The others go on naming it until a replica is promoted; a primary stays one until then. Keys are not lost, because
// the nodes share them.
func (c *Cluster) Kill(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !n.up {
		return
	}
	n.stopLocked()
	n.gate.open()
	n.paused, n.isolated = false, false
	n.unavailableLocked()
}

// Restart starts a node that was killed, at its address. It learns what happened meanwhile at once: one that was
// replaced becomes a replica of its successor.
func (c *Cluster) Restart(n *Node) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.up || c.closed {
		c.t.Errorf("fakecluster: Restart(%s): it is running", n.addr)
		return
	}
	if c.cfg.TCP {
		listener, err := listen(c.t.Context(), n.addr)
		if err != nil {
			c.t.Errorf("fakecluster: Restart(%s): %v", n.addr, err)
			return
		}
		n.listenLocked(listener)
	}
	n.up, n.gate = true, openGate()
	n.returnLocked()
}

// Pause stops a node as SIGSTOP does: it accepts connections and bytes, and neither answers nor sends, until Unpause.
// The commands that wait are carried out then.
func (c *Cluster) Pause(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.up && !n.paused && !c.closed {
		n.paused, n.gate = true, shutGate()
		n.unavailableLocked()
	}
}

// Unpause lets a paused node go on. It learns what happened meanwhile before it carries out what waits: a real one
// may carry out some of it first.
func (c *Cluster) Unpause(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !n.paused {
		return
	}
	n.paused = false
	backlog := n.backlog
	n.backlog = nil
	for _, m := range backlog {
		n.deliverLocked(m)
	}
	n.returnLocked()
	n.gate.open()
}

// Isolate cuts a node off from the other nodes, not from clients. It goes on believing what it believed. After
// Config.NodeTimeout it says cluster_state:fail and refuses keys, but accepts SPUBLISH for its own subscribers for ever.
func (c *Cluster) Isolate(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.up && !n.isolated {
		n.isolated = true
		n.unavailableLocked()
	}
}

// Rejoin ends Isolate. A primary that was replaced becomes a replica of its successor.
func (c *Cluster) Rejoin(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.isolated {
		n.isolated = false
		n.returnLocked()
	}
}

// unavailableLocked notes that the majority has lost a node, and has its successor promoted if nobody else does.
func (n *Node) unavailableLocked() {
	c := n.cluster
	n.since = time.Now()
	if c.cfg.FailOverAfter == 0 || c.closed {
		return
	}
	if n.timer != nil {
		n.timer.Stop()
	}
	n.timer = time.AfterFunc(c.cfg.FailOverAfter, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s, index := c.view.home(n)
		if c.closed || s == nil || s.primary != n || n.availableLocked() {
			return
		}
		if replica := s.electLocked(); replica != nil {
			c.promoteLocked(index, replica)
		}
	})
}

// returnLocked makes a node that was cut off one of the majority's again.
func (n *Node) returnLocked() {
	c := n.cluster
	if !n.availableLocked() {
		return
	}
	if n.timer != nil {
		n.timer.Stop()
	}
	for i := range c.view.shards {
		if slices.Contains(c.view.shards[i].lost, n) {
			after := c.view.clone()
			s := &after.shards[i]
			s.lost, s.replicas = without(s.lost, n), append(s.replicas, n)
			c.publishLocked(after)
			return
		}
	}
	n.adoptLocked(c.view)
}

// electLocked returns the first replica that can be reached; nil if there is none.
func (s *shard) electLocked() *Node {
	for _, r := range s.replicas {
		if r.availableLocked() {
			return r
		}
	}
	return nil
}

// FailOver promotes the first replica of a shard that can be reached, and returns it. A primary that runs becomes its
// replica, as by CLUSTER FAILOVER; one that is killed, paused or isolated does when it is back. Without such a replica
// the test fails, and nil is returned.
func (c *Cluster) FailOver(shard int) *Node {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if shard < 0 || shard >= len(c.view.shards) {
		c.t.Errorf("fakecluster: FailOver(%d): there are %d shards", shard, len(c.view.shards))
		return nil
	}
	replica := c.view.shards[shard].electLocked()
	if replica == nil {
		c.t.Errorf("fakecluster: FailOver(%d): no replica can be reached", shard)
		return nil
	}
	c.promoteLocked(shard, replica)
	return replica
}

// FailOverTo promotes a certain replica, else as FailOver.
func (c *Cluster) FailOverTo(replica *Node) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	s, index := c.view.home(replica)
	if s == nil || s.primary == replica || !replica.availableLocked() {
		c.t.Errorf("fakecluster: FailOverTo: no replica that can be reached: %s", replica.describeLocked(c.view))
		return
	}
	c.promoteLocked(index, replica)
}

// promoteLocked makes a replica the primary of its shard.
func (c *Cluster) promoteLocked(index int, replica *Node) {
	after := c.view.clone()
	s := &after.shards[index]
	old := s.primary
	s.primary, s.epoch, s.replicas = replica, after.epoch, without(s.replicas, replica)
	if old.availableLocked() {
		s.replicas = append(s.replicas, old)
	} else {
		s.lost = append(s.lost, old)
	}
	for slot, m := range c.moves { // what a fail-over does to a migration is not modelled: it ends
		if m.from == old || m.to == old {
			delete(c.moves, slot)
		}
	}
	c.publishLocked(after)
}

// MoveReplica makes a replica one of another shard's primary, as CLUSTER REPLICATE does. Up to 7.2.1 its subscriptions
// stay, and are silent from then on.
func (c *Cluster) MoveReplica(replica, primary *Node) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	from, i := c.view.home(replica)
	to, j := c.view.home(primary)
	if from == nil || to == nil || from.primary == replica || to.primary != primary || i == j {
		c.t.Errorf("fakecluster: MoveReplica(%s, %s): want a replica of one shard and the primary of another",
			replica.describeLocked(c.view), primary.describeLocked(c.view))
		return
	}
	after := c.view.clone()
	after.shards[i].replicas = without(after.shards[i].replicas, replica)
	after.shards[j].replicas = append(after.shards[j].replicas, replica)
	c.publishLocked(after)
}

// Unassign takes a slot from its shard: it is served by nobody (CLUSTERDOWN). MigrateSlot gives it to a primary again.
func (c *Cluster) Unassign(slot int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if slot < 0 || slot >= router.Slots || c.cfg.Standalone {
		c.t.Errorf("fakecluster: Unassign(%d): no slot of a cluster", slot)
		return
	}
	after := c.view.clone()
	after.owner[slot] = -1
	delete(c.moves, slot)
	c.publishLocked(after)
}

// Latency makes a node carry out every command d after it came. Zero: at once. Commands of one connection keep their
// order and are late together, as by a slow network.
func (c *Cluster) Latency(n *Node, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.latency = d
}

// KillClients closes the connections of a node that are of a kind, as CLIENT KILL TYPE does: "pubsub" are those that
// subscribe to something, "normal" the others, "all" both. It returns how many there were.
func (c *Cluster) KillClients(n *Node, kind string) int {
	c.t.Helper()
	if !slices.Contains([]string{"normal", "pubsub", "all"}, kind) {
		c.t.Errorf("fakecluster: KillClients: kind %q: want normal, pubsub or all", kind)
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for cl := range n.clients {
		if kind == "all" || kind == cl.kindLocked() {
			cl.dropLocked()
			count++
		}
	}
	return count
}
