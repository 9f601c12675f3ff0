package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// FailOverMode says how a replica takes over.
type FailOverMode string

const (
	// Graceful waits until the replica has caught up; the primary must work.
	Graceful FailOverMode = ""
	// Force does without the primary; the other primaries still vote.
	Force FailOverMode = "FORCE"
	// TakeOver does without a vote, too.
	TakeOver FailOverMode = "TAKEOVER"
)

// failOverRound is how long a fail-over may take until it is asked for again.
// The server itself gives up a manual fail-over after 5 s: a vote is refused,
// for instance, for two node timeouts after the last one about that primary.
const failOverRound = 5500 * time.Millisecond

// FailOver makes a replica the primary of its shard and returns when it says
// that it is; the others learn it a moment later (see [Cluster.WaitHealthy]).
// It asks again when the cluster refused, until ctx ends. A node that is a
// primary already is left as it is.
func (c *Cluster) FailOver(ctx context.Context, replica *Server, how FailOverMode) error {
	command := []string{"CLUSTER", "FAILOVER"}
	if how != Graceful {
		command = append(command, string(how))
	}
	var asked time.Time
	return poll(ctx, "fail over to "+replica.Addr(), func(ctx context.Context) error {
		view, err := replica.View(ctx)
		if err != nil {
			return err
		}
		if me := view.Myself(); me.Primary() {
			return nil
		}
		if time.Since(asked) >= failOverRound {
			if _, err := replica.Do(ctx, command...); err != nil {
				return err
			}
			asked = time.Now()
		}
		return errors.New("it is still a replica")
	})
}

// AddPrimary adds a primary without slots and returns when the cluster is
// healthy with it.
func (c *Cluster) AddPrimary(ctx context.Context) (*Server, error) {
	s, err := c.join(ctx)
	if err != nil {
		return nil, err
	}
	return s, c.WaitHealthy(ctx)
}

// AddReplica adds a replica of the primary and returns when the cluster is
// healthy with it.
func (c *Cluster) AddReplica(ctx context.Context, of *Server) (*Server, error) {
	s, err := c.join(ctx)
	if err != nil {
		return nil, err
	}
	return s, c.Replicate(ctx, s, of)
}

// join starts a node and introduces it to the running others. A node that
// started belongs to the cluster, and is closed with it, even after an error.
func (c *Cluster) join(ctx context.Context) (*Server, error) {
	before := c.Nodes()
	started, err := c.startNodes(ctx, 1)
	if err != nil {
		return nil, err
	}
	s := started[0]
	for _, other := range before {
		if !other.Running() {
			continue
		}
		if err := s.all(ctx, meet(other)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Replicate makes node a replica of primary, from whatever shard it was, and
// returns when the cluster is healthy. A node that is a primary must have no
// slots and no keys.
func (c *Cluster) Replicate(ctx context.Context, node, primary *Server) error {
	if err := c.follow(ctx, node, primary); err != nil {
		return err
	}
	return c.WaitHealthy(ctx)
}

// follow sends CLUSTER REPLICATE until the node knows the primary well enough
// to accept it.
func (c *Cluster) follow(ctx context.Context, node, primary *Server) error {
	id := c.ID(primary)
	if id == "" {
		return errForeign(primary)
	}
	return poll(ctx, fmt.Sprintf("make %s a replica of %s", node.Addr(), primary.Addr()), func(ctx context.Context) error {
		_, err := node.Do(ctx, "CLUSTER", "REPLICATE", id)
		return err
	})
}

// Remove takes a node out of the cluster: the running others forget it, and it
// is closed. A primary must have given its slots away before.
func (c *Cluster) Remove(ctx context.Context, node *Server) error {
	id := c.ID(node)
	if id == "" {
		return errForeign(node)
	}
	err := node.Close() // first, or its gossip would introduce it again
	c.mu.Lock()
	for i, n := range c.nodes {
		if n == node {
			c.nodes = append(c.nodes[:i:i], c.nodes[i+1:]...)
			break
		}
	}
	delete(c.ids, node)
	c.mu.Unlock()
	for _, n := range c.Nodes() {
		if n.Running() {
			err = errors.Join(err, n.forget(ctx, id))
		}
	}
	return err
}

// forget makes a node forget another. One that does not know it, or does not
// any more, is no error: since 7.2 whoever is told tells the others.
func (s *Server) forget(ctx context.Context, id string) error {
	_, err := s.Do(ctx, "CLUSTER", "FORGET", id)
	var reply ReplyError
	if errors.As(err, &reply) && strings.HasPrefix(string(reply), "ERR Unknown node") {
		return nil
	}
	return err
}
