package bus

import "github.com/shardbus/shardbus/bus/internal/keyshare"

// This file is an Ask from a handler as an edge of the graph in deadlock.go: the
// handler's lane waits for the lanes that may have its request.

// waitAs says in the graph that caller's handler waits for a's reply, until stop. It
// reports false, and says nothing, when the reply is there, or nobody is who might
// give one.
func (a *asker[R]) waitAs(from *laneNode, owners []*laneNode) (stop func(), ok bool) {
	e := &waitEdge{on: owners}
	a.mu.Lock()
	ok = a.open && len(owners) > 0
	if ok {
		a.waitEdge = e
	}
	a.mu.Unlock()
	if !ok {
		return nil, false
	}
	from.waits.Store(e)
	return func() {
		e.over.Store(true)
		from.waits.Store(nil)
	}, true
}

// possibleOwners is the lanes that may have an event with that key hash which entered the
// topic before the call: those of subscriptions that have left it are among them. It
// may be more than have it, so that whoever waits for any of them waits for longer,
// and not for less.
func (fan *fanout[T]) possibleOwners(hash uint64) []*laneNode {
	var nodes []*laneNode
	add := func(lanes ...*lane[T]) {
		for _, l := range lanes {
			if l != nil {
				nodes = append(nodes, &l.node)
			}
		}
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	for _, s := range fan.mu.subs {
		switch {
		case s.group != nil && hash != 0 && !s.group.keys.Moving():
			m := s.group.owner(hash)
			add(m.lanes[keyshare.LaneOf(hash, len(m.lanes))])
		case s.group != nil:
			add(s.group.lanes()...)
		case hash != 0:
			add(s.lanes[keyshare.LaneOf(hash, len(s.lanes))])
		default:
			add(s.lanes...)
		}
	}
	// Last, since a subscription may move there meanwhile, but never back.
	for _, left := range fan.topic.bus.leaving() {
		if s, ok := left.engine.(*subscription[T]); ok && s.topic == fan.topic {
			add(s.lanes...)
		}
	}
	return nodes
}
