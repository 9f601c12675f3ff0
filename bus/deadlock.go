package bus

import (
	"slices"
	"sync/atomic"
)

// waitEdge says that a handler waits for room in one of other lanes, or for the reply of
// one: an edge of the graph in which a deadlock is a knot.
type waitEdge struct {
	on   []*laneNode // any of them will do
	at   []uint64    // how many events each must have taken for one place to be free; none: it waits for a reply
	over atomic.Bool // room was found, the reply came, or the wait was given up
}

// ended tells whether the wait is over, or would be if it looked: a lane may take
// an event at the very moment at which somebody begins to wait for that.
func (e *waitEdge) ended() bool {
	for i, at := range e.at {
		if e.on[i].taken() >= at {
			return true
		}
	}
	return e.over.Load()
}

// deadlocked tells whether start's handler waits for itself: directly, or
// through handlers that wait for other lanes. With waits for one lane
// each that is a cycle. Where a wait is for any of several lanes it takes a knot:
// everybody whom start waits for, near or far, waits too, and for start.
//
// Each handler stores its edge before it looks, so of those that close a knot
// together the last one sees all of it. A walk alone could also see edges that
// never were there at one moment; so the knot counts only if, after the whole of
// it was seen, none of its waits was over: then they all lasted at the moment in
// between, and a knot can't end by itself.
func deadlocked(start *laneNode) bool {
	waits := map[*laneNode]*waitEdge{}
	for todo := []*laneNode{start}; len(todo) > 0; {
		node := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if waits[node] != nil {
			continue
		}
		e := node.waits.Load()
		if e == nil || e.ended() {
			return false // it runs, and will make room
		}
		waits[node] = e
		todo = append(todo, e.on...)
	}
	if !allReachable(waits, start) {
		return false // a knot beyond start, for those in it to find
	}
	for _, e := range waits {
		if e.ended() {
			return false
		}
	}
	return true
}

// allReachable tells whether every node waits, near or far, for start.
func allReachable(waits map[*laneNode]*waitEdge, start *laneNode) bool {
	reach := map[*laneNode]bool{}
	for grown := true; grown; {
		grown = false
		for node, e := range waits {
			if !reach[node] && slices.ContainsFunc(e.on, func(to *laneNode) bool { return to == start || reach[to] }) {
				reach[node], grown = true, true
			}
		}
	}
	return len(reach) == len(waits)
}
