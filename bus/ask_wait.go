package bus

import "github.com/shardbus/shardbus/bus/internal/waitgraph"

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
	add := func(lanes []*lane[T]) {
		for _, l := range lanes {
			if l != nil {
				nodes = append(nodes, &l.node.Node)
			}
		}
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	for _, target := range fan.mu.targets {
		add(target.owners(hash))
	}
	for s := range fan.mu.leaving {
		add(s.lanes)
	}
	return nodes
}
