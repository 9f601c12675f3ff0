package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// reports asks all running nodes at once. A node that ends or stops meanwhile
// is an error.
func (c *Cluster) reports(ctx context.Context) ([]report, error) {
	var running []*Server
	for _, n := range c.Nodes() {
		if n.Running() {
			running = append(running, n)
		}
	}
	reports := make([]report, len(running))
	err := inParallel(len(running), func(i int) (err error) {
		reports[i], err = running[i].report(ctx)
		return err
	})
	return reports, err
}

// WaitHealthy waits until all running nodes agree and work: the same roles and
// slot owners everywhere, every slot at a running node, nobody suspected,
// cluster_state ok, every replica linked to its primary. Killed and stopped
// nodes are left out. On an error it tells what was missing last.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	return poll(ctx, "wait for a healthy cluster", func(ctx context.Context) error {
		reports, err := c.reports(ctx)
		if err != nil {
			return err
		}
		return unhealthy(reports)
	})
}

// Heal undoes what tests did: stopped nodes go on, dead ones are restarted,
// and it waits until the cluster is healthy. Slots and roles stay where they
// are, data too.
func (c *Cluster) Heal(ctx context.Context) error {
	nodes := c.Nodes()
	err := inParallel(len(nodes), func(i int) error {
		switch n := nodes[i]; {
		case !n.Alive():
			return n.Restart(ctx)
		case !n.Running():
			return n.Cont()
		default:
			return nil
		}
	})
	if err != nil {
		return err
	}
	return c.WaitHealthy(ctx)
}

// Primaries returns the running nodes that say they are primaries, in the
// order of Nodes. A killed primary that came back says so until it learns of
// its successor.
func (c *Cluster) Primaries(ctx context.Context) ([]*Server, error) {
	return c.those(ctx, Node.Primary)
}

// Replicas returns the running nodes that say they replicate of, which need
// not run itself.
func (c *Cluster) Replicas(ctx context.Context, of *Server) ([]*Server, error) {
	id := c.ID(of)
	if id == "" {
		return nil, errForeign(of)
	}
	return c.those(ctx, func(n Node) bool { return n.PrimaryID == id })
}

// those returns the running nodes of whose own view of themselves is says yes.
func (c *Cluster) those(ctx context.Context, is func(Node) bool) ([]*Server, error) {
	reports, err := c.reports(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []*Server
	for _, r := range reports {
		if is(r.view.Myself()) {
			nodes = append(nodes, r.server)
		}
	}
	return nodes, nil
}

// errForeign says that a server is no node of the cluster.
func errForeign(s *Server) error {
	return fmt.Errorf("redistest: %s is no node of this cluster", s.Addr())
}

// ErrNoPrimary says that no running node says it owns the slot.
var ErrNoPrimary = errors.New("redistest: no running primary owns the slot")

// PrimaryFor returns the running node that says it owns the slot; when several
// do, after a fail-over, the one with the newest claim. [ErrNoPrimary] if none.
func (c *Cluster) PrimaryFor(ctx context.Context, slot int) (*Server, error) {
	reports, err := c.reports(ctx)
	if err != nil {
		return nil, err
	}
	var owner *Server
	var epoch int64
	for _, r := range reports {
		me := r.view.Myself()
		if me.Primary() && contains(me.Slots, slot) && (owner == nil || me.Epoch > epoch) {
			owner, epoch = r.server, me.Epoch
		}
	}
	if owner == nil {
		return nil, fmt.Errorf("%w (%d)", ErrNoPrimary, slot)
	}
	return owner, nil
}

// PrimaryForKey is [Cluster.PrimaryFor] the slot of the key or channel.
func (c *Cluster) PrimaryForKey(ctx context.Context, key string) (*Server, error) {
	slot, err := c.KeySlot(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.PrimaryFor(ctx, slot)
}

// KeySlot asks a running node for the slot of the key or channel.
func (c *Cluster) KeySlot(ctx context.Context, key string) (int, error) {
	for _, n := range c.Nodes() {
		if !n.Running() {
			continue
		}
		reply, err := n.Do(ctx, "CLUSTER", "KEYSLOT", key)
		if err != nil {
			return 0, err
		}
		slot, ok := reply.(int64)
		if !ok {
			return 0, errors.New("redistest: CLUSTER KEYSLOT replied " + fmt.Sprint(reply))
		}
		return int(slot), nil
	}
	return 0, errors.New("redistest: no node is running to ask for the slot of " + strconv.Quote(key))
}

// WaitNewPrimary waits until a running node other than old says it owns the
// slot, and returns it: the end of a fail-over, or of a migration.
func (c *Cluster) WaitNewPrimary(ctx context.Context, slot int, old *Server) (*Server, error) {
	var owner *Server
	err := poll(ctx, "wait for a new primary", func(ctx context.Context) error {
		now, err := c.PrimaryFor(ctx, slot)
		if err != nil {
			return err
		}
		if now == old {
			return fmt.Errorf("slot %d is still at %s", slot, old.Addr())
		}
		owner = now
		return nil
	})
	return owner, err
}
