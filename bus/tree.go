package bus

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/supervisor"
)

// Tree shows what the bus supervises as it is now, for people to read: the transport with what that
// supervises, the log, and every subscription with its lanes. A bus, a transport and a log whose Health
// says that something is down are starting, until everything is connected and every subscription confirmed.
// Lanes and actors are passive nodes: they hold no goroutine while they are idle, and a panic of a
// handler counts as a restart of its lane or actor. Of the actors it shows those that panicked
// within the last minute. A subscription of a durable topic of which another bus has all is on standby.
func (b *Bus) Tree() supervisor.Tree {
	tree := supervisor.Tree{Name: "bus", State: supervisor.StateRunning, Incarnation: 1}
	if b.state.Load() == stateClosed {
		tree.State = supervisor.StateStopped
	}
	now := time.Now()
	subs := supervisor.Tree{Name: "subscriptions", State: tree.State, Incarnation: 1}
	if b.root != nil {
		tree.Children = b.root.Tree().Children
		tree.State = b.markStarting(tree.State, tree.Children)
	}
	for _, s := range b.subscriptions() {
		subs.Children = append(subs.Children, s.tree(now))
	}
	tree.Children = append(tree.Children, subs)
	return tree
}

// markStarting has the node of a transport or a log that runs and does not work say starting, and
// returns what the bus above it, whose own state is given, is to say.
func (b *Bus) markStarting(above supervisor.State, nodes []supervisor.Tree) supervisor.State {
	if above != supervisor.StateRunning {
		return above
	}
	for _, p := range b.servedParts() {
		if len(p.health(b).Down) == 0 {
			continue
		}
		above = supervisor.StateStarting
		for i := range nodes {
			if nodes[i].Name == p.node && nodes[i].State == supervisor.StateRunning {
				nodes[i].State = supervisor.StateStarting
			}
		}
	}
	return above
}

// tree is the subscription's part of the bus's tree.
func (s *Subscription) tree(now time.Time) supervisor.Tree {
	s.mu.Lock()
	var panics *supervisor.Passive
	var err error
	if tr := s.mu.incidents; tr != nil {
		panics, err = tr.panics, tr.err
	}
	s.mu.Unlock()
	tree := supervisor.Tree{
		Name: s.info.name + "/" + s.name, State: supervisor.StateRunning, Incarnation: 1, LastErr: err,
	}
	switch {
	case s.ctl.Load()&ctlLeft != 0:
		tree.State = supervisor.StateStopping
	case s.info.durable && s.engine.standby():
		tree.State = supervisor.StateStandby
	}
	var failed supervisor.Tree
	if panics != nil {
		failed = panics.Tree(now)
		tree.Restarts = failed.Restarts
	}
	states := s.engine.laneStates()
	for _, i := range slices.Sorted(maps.Keys(states)) {
		lane, ok := failed.Find(laneName(i))
		if !ok {
			lane = supervisor.Tree{Name: laneName(i), Incarnation: 1}
		}
		lane.State = states[i]
		tree.Children = append(tree.Children, lane)
	}
	for _, node := range failed.Children {
		if strings.HasPrefix(node.Name, actorName("")) {
			tree.Children = append(tree.Children, node)
		}
	}
	return tree
}

// laneStates is the state of every lane that was made, by its number.
func (s *subscription[T]) laneStates() map[int]supervisor.State {
	fan := s.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	states := make(map[int]supervisor.State)
	for i, l := range s.lanes {
		if l == nil {
			continue
		}
		switch l.state.Load() {
		case laneActive, laneSignaled:
			states[i] = supervisor.StateRunning
		case laneClosed:
			states[i] = supervisor.StateStopped
		default:
			states[i] = supervisor.StateIdle
		}
	}
	return states
}
