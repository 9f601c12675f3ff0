package bus

import (
	"github.com/shardbus/shardbus/bus/internal/keyshare"
	"github.com/shardbus/shardbus/bus/internal/waitgraph"
)

// beginWait says that the handler of the lane from waits for a's reply, until from.Finish. It
// reports false, and says nothing, if the reply is there or nobody can give one.
func (a *asker[R]) beginWait(from *laneNode, owners []*waitgraph.Node) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open || len(owners) == 0 {
		return false
	}
	a.wait = waitgraph.ForReply(owners)
	from.Begin(a.wait)
	return true
}

// possibleOwners is the lanes that may have an event with that key hash which entered the topic
// before the call. Lanes of subscriptions that have left the topic are among them. There may be too
// many, never too few: see [waitgraph.ForReply].
func (fan *fanout[T]) possibleOwners(hash uint64) []*waitgraph.Node {
	var nodes []*waitgraph.Node
	add := func(lanes ...*lane[T]) {
		for _, l := range lanes {
			if l != nil {
				nodes = append(nodes, &l.node.Node)
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
