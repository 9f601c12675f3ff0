package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"go.uber.org/zap"
)

var _ transport.HealthReporter = (*Transport)(nil)

const (
	healthEvery = time.Second
	// deadAfter is how long a primary may be away before that is a warning: a fail-over takes less.
	deadAfter = 8 * time.Second
	// deadAgain is how often the warning is repeated.
	deadAgain = time.Minute
)

var (
	errNoPublisher  = errors.New("publishing is not connected")
	errNoSubscriber = errors.New("subscribing is not connected")
	errNoReplica    = errors.New("it has no replica that stands by")
)

// health is which nodes the transport is connected to.
type health struct {
	mu sync.Mutex
	// mu guards nodes.
	nodes map[connkey.Key]*nodeHealth
}

// nodeHealth is the connections of one class to one node.
type nodeHealth struct {
	publisher, subscriber connState
}

// connState is one of them.
type connState struct {
	up    bool
	since time.Time // of up
	err   error     // why it is not
}

func newHealth() *health { return &health{nodes: make(map[connkey.Key]*nodeHealth)} }

// set notes that a connection was made, or that it is not there, and why.
func (h *health) set(key connkey.Key, which func(*nodeHealth) *connState, up bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.nodes[key]
	if n == nil {
		n = new(nodeHealth)
		h.nodes[key] = n
	}
	s := which(n)
	if s.since.IsZero() || s.up != up {
		s.since = time.Now()
	}
	if s.up = up; up || err != nil {
		s.err = err
	}
}

func publisherOf(n *nodeHealth) *connState  { return &n.publisher }
func subscriberOf(n *nodeHealth) *connState { return &n.subscriber }

// watched runs the publisher or subscriber of a node, which calls up once it is connected.
func (h *health) watched(key connkey.Key, which func(*nodeHealth) *connState, serve func(up func()) error) error {
	h.set(key, which, false, nil)
	err := serve(func() { h.set(key, which, true, nil) })
	h.set(key, which, false, err)
	return err
}

// of returns what is known of a node.
func (h *health) of(key connkey.Key) nodeHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.nodes[key]; n != nil {
		return *n
	}
	return nodeHealth{}
}

// forget drops the nodes that are not wanted any more.
func (h *health) forget(wanted func(addr string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.nodes {
		if !wanted(key.Addr) {
			delete(h.nodes, key)
		}
	}
}

// Health says what does not work: each primary that has slots and is not connected for publishing
// and for subscribing, or on which a channel is not confirmed, and slots that have no primary. With
// Config.Standby, Degraded are the replicas that are not connected, and primaries that have none.
// While all is well that takes 0.7 µs on three shards, with 20 channels and with 10,000; each
// channel that is not confirmed adds some 0.1 µs.
func (t *Transport) Health() transport.Health {
	t.mu.Lock()
	serving := t.serving
	t.mu.Unlock()
	if !serving {
		return transport.Health{Down: []transport.Part{{Name: "redis", Err: transport.ErrNotServing}}}
	}
	var h transport.Health
	snapshot := t.topology.Snapshot()
	unconfirmed := t.subscriber.Unconfirmed()
	for _, shard := range snapshot.Shards() {
		if len(shard.Slots) == 0 {
			continue
		}
		for class := range t.classes.All() {
			key := connkey.Key{Addr: shard.Primary.Addr, Class: class}
			if p, is := t.nodeDown(childName(""), key, unconfirmed[key]); is {
				h.Down = append(h.Down, p)
			}
		}
		if t.cfg.Standby {
			h.Degraded = append(h.Degraded, t.replicasDown(shard)...)
		}
	}
	if n := router.Slots - snapshot.Covered(); n > 0 {
		h.Down = append(h.Down, transport.Part{Name: "slots", Err: fmt.Errorf("%d of %d have no primary", n, router.Slots)})
	}
	return h
}

// replicasDown says what is missing at the replicas that stand by for a primary.
func (t *Transport) replicasDown(shard router.Shard) (down []transport.Part) {
	if len(shard.Replicas) == 0 {
		return []transport.Part{{Name: childName(shard.Primary.Addr), Err: errNoReplica}}
	}
	for _, r := range shard.Replicas {
		for class := range t.classes.All() {
			if p, is := t.nodeDown("replica ", connkey.Key{Addr: r.Addr, Class: class}, 0); is {
				down = append(down, p)
			}
		}
	}
	return down
}

// nodeDown says what of a node does not work for a class. kind is what its name begins with.
func (t *Transport) nodeDown(kind string, key connkey.Key, unconfirmed int) (p transport.Part, down bool) {
	n := t.health.of(key)
	var errs []error
	for _, c := range []struct {
		connState
		missing error
	}{{n.publisher, errNoPublisher}, {n.subscriber, errNoSubscriber}} {
		if c.up {
			continue
		}
		err := c.missing
		if c.err != nil {
			err = fmt.Errorf("%w: %w", c.missing, c.err)
		}
		errs = append(errs, err)
		if !c.since.IsZero() && (p.Since.IsZero() || c.since.Before(p.Since)) {
			p.Since = c.since
		}
	}
	if unconfirmed > 0 && n.subscriber.up {
		errs = append(errs, fmt.Errorf("%d channels are not confirmed", unconfirmed))
	}
	if len(errs) == 0 {
		return transport.Part{}, false
	}
	p.Name, p.Err = t.topicPrefix(key.Class)+kind+key.Addr, errs[0]
	if len(errs) > 1 {
		p.Err = fmt.Errorf("%w; %w", errs[0], errs[1])
	}
	return p, true
}

// serveHealth warns of primaries that stay away, until ctx ends.
func (t *Transport) serveHealth(ctx context.Context) error {
	warned := make(map[string]time.Time) // when a part was warned of last
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			t.logHealth(now, warned)
			snapshot := t.topology.Snapshot()
			t.health.forget(func(addr string) bool {
				_, known := snapshot.NodeShard(addr)
				return known
			})
		}
	}
}

func (t *Transport) logHealth(now time.Time, warned map[string]time.Time) {
	down := make(map[string]bool)
	for _, p := range t.Health().Down {
		if p.Since.IsZero() {
			continue
		}
		down[p.Name] = true
		last, told := warned[p.Name]
		if now.Sub(p.Since) < deadAfter || told && now.Sub(last) < deadAgain {
			continue
		}
		warned[p.Name] = now
		t.log.Warn("redis: a primary is away: events for its slots wait or fail, and none arrive from it",
			zap.String("shard", p.Name), zap.Duration("down_for", now.Sub(p.Since).Round(time.Second)), zap.Error(p.Err))
	}
	for name := range warned {
		if !down[name] {
			delete(warned, name)
			t.log.Info("redis: a primary that was away is back, or was replaced", zap.String("shard", name))
		}
	}
}

// markStarting has the nodes of shards in the tree that are not connected, or not confirmed, say
// starting, and those above them.
func (t *Transport) markStarting(tree supervisor.Tree) supervisor.Tree {
	unconfirmed := t.subscriber.Unconfirmed()
	for i := range tree.Children {
		node := &tree.Children[i]
		addr, ok := strings.CutPrefix(node.Name, childName(""))
		if !ok {
			continue
		}
		for j := range node.Children {
			c := &node.Children[j]
			key, role := t.connectionOf(addr, c.Name)
			n := t.health.of(key)
			live := n.publisher.up
			if role == subscriberName {
				live = n.subscriber.up && unconfirmed[key] == 0
			}
			if !live && c.State == supervisor.StateRunning {
				c.State = supervisor.StateStarting
			}
			if c.State != supervisor.StateRunning && node.State == supervisor.StateRunning {
				node.State = supervisor.StateStarting
			}
		}
	}
	return tree
}

// connectionOf returns which connection to a node a child of its shard has, by its name, and which
// of the two it is.
func (t *Transport) connectionOf(addr, child string) (key connkey.Key, role string) {
	key.Addr = addr
	for class := range t.classes.All() {
		prefix := t.topicPrefix(class)
		if role, ok := strings.CutPrefix(child, prefix); ok && (role == publisherName || role == subscriberName) {
			key.Class = class
			return key, role
		}
	}
	return key, child
}
