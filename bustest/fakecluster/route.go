package fakecluster

import (
	"fmt"

	"github.com/shardbus/shardbus/router"
)

const (
	msgCrossSlot = "CROSSSLOT Keys in request don't hash to the same slot"
	msgDown      = "CLUSTERDOWN The cluster is down"
	msgUnbound   = "CLUSTERDOWN Hash slot not served"
	msgTryAgain  = "TRYAGAIN Multiple keys request during rehashing of slot"
)

// route decides whether this node carries out a command, by the rules of getNodeByQuery. problem is the error if not.
// touched are the keys that are at this node, the importing one, if they exist afterwards.
func (cl *client) route(cmd *command, args []string, asking bool) (touched []string, problem string) {
	keys, write := cmd.keysOf(args), cmd.write
	if cl.name == "EXEC" && cl.tx.open {
		keys, write = cl.tx.keys, cl.tx.write
	}
	if len(keys) == 0 {
		return nil, ""
	}
	slot := router.Slot(keys[0])
	for _, key := range keys[1:] {
		if router.Slot(key) != slot {
			return nil, msgCrossSlot
		}
	}
	p := cl.place(slot)
	switch {
	case p.unbound:
		return nil, msgUnbound
	case cmd.channels && (p.member || p.importing && asking):
		return nil, ""
	case cmd.channels:
		return nil, p.moved
	case p.down:
		return nil, msgDown
	case p.primary && p.migration == nil:
		return nil, ""
	case p.primary:
		return nil, cl.cluster.atSource(p, keys)
	case p.importing && asking:
		return keys, cl.cluster.atTarget(p, keys, args)
	case p.member && cl.reads && !write:
		return nil, ""
	}
	return nil, p.moved
}

// place is what a slot is to a node.
type place struct {
	unbound   bool // nobody serves it
	primary   bool // the node is its primary
	member    bool // or of the shard that serves it
	importing bool // or the one that it is being given to
	down      bool // the node says cluster_state:fail
	migration *Migration
	moved     string // where to go instead
	ask       string
}

func (cl *client) place(slot int) place {
	c, n := cl.cluster, cl.node
	c.mu.Lock()
	defer c.mu.Unlock()
	s := n.view.of(slot)
	if s == nil {
		return place{unbound: true}
	}
	p := place{primary: s.primary == n, member: s.has(n), down: n.downLocked(), moved: fmt.Sprintf("MOVED %d %s", slot, s.primary.addr)}
	if m := c.moves[slot]; m != nil && (m.from == n || m.to == n) {
		p.migration, p.importing, p.ask = m, m.to == n, fmt.Sprintf("ASK %d %s", slot, m.to.addr)
	}
	return p
}

// atSource is the problem of keys whose slot is on its way out.
func (c *Cluster) atSource(p place, keys []string) (problem string) {
	missing := 0
	for _, key := range keys {
		if !c.backend.Exists(key) || c.hasMoved(p.migration, key) {
			missing++
		}
	}
	switch missing {
	case 0:
		return ""
	case len(keys):
		return p.ask
	}
	return msgTryAgain
}

// atTarget is the problem of keys whose slot is on its way in.
func (c *Cluster) atTarget(p place, keys, args []string) (problem string) {
	missing := 0
	for _, key := range keys {
		exists := c.backend.Exists(key)
		if exists && !c.hasMoved(p.migration, key) {
			c.unknown.report(c.t, "ASKING", append([]string{"ASKING, for a key that is still at the source:"}, args...))
			return "ERR fakecluster does not model two copies of a key"
		}
		if !exists {
			missing++
		}
	}
	if missing > 0 && len(keys) > 1 {
		return msgTryAgain
	}
	return ""
}
