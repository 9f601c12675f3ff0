// Package waitgraph finds handlers that wait for themselves.
//
// The nodes are lanes. A handler that waits for room in one of other lanes, or for the reply of one,
// is an edge from its lane to those. A deadlock is a knot of this graph: with waits for one lane
// each it is a cycle.
package waitgraph

import (
	"slices"
	"sync/atomic"
)

// Node is a lane. The zero value is a lane whose handler does not wait.
type Node struct {
	taken func() uint64
	wait  atomic.Pointer[Wait] // what its handler waits for, if it does
}

// Init says how many events the lane has taken so far. It must be called before the node is waited
// for with [Wait.Add].
func (n *Node) Init(taken func() uint64) { n.taken = taken }

// Wait is what a handler waits for. It is filled by its maker before it is passed to [Node.Begin].
type Wait struct {
	on   []*Node     // any of them will do
	at   []uint64    // how many events each must have taken for one place to be free; none: it waits for a reply
	over atomic.Bool // room was found, the reply came, or the wait was given up
}

// ForRoom is a wait for a place in a mailbox. It is empty: call Add for each lane.
func ForRoom(lanes int) *Wait {
	return &Wait{on: make([]*Node, 0, lanes), at: make([]uint64, 0, lanes)}
}

// Add says that the lane n has a place as soon as it has taken at events.
func (w *Wait) Add(n *Node, at uint64) {
	w.on, w.at = append(w.on, n), append(w.at, at)
}

// ForReply is a wait for a reply of one of these lanes. More than can reply are no harm: then a
// deadlock may be missed, and none is made up.
func ForReply(lanes []*Node) *Wait { return &Wait{on: lanes} }

// End says that the wait is over. It may be called from any goroutine, more than once. Call it as
// soon as that is known, and not when the handler is awake: who goes on first may begin to wait for
// that handler.
func (w *Wait) End() { w.over.Store(true) }

// ended tells whether the wait is over, or would be if the handler looked: a lane may take an event
// at the very moment at which somebody begins to wait for that.
func (w *Wait) ended() bool {
	for i, at := range w.at {
		if w.on[i].taken() >= at {
			return true
		}
	}
	return w.over.Load()
}

// Begin says that n's handler waits. Each Begin needs a Finish.
func (n *Node) Begin(w *Wait) { n.wait.Store(w) }

// Finish says that n's handler waits no longer.
func (n *Node) Finish() {
	if w := n.wait.Load(); w != nil {
		w.End() // first: a walk that has seen w looks at this again
		n.wait.Store(nil)
	}
}

// Deadlocked tells whether n's handler, after Begin, waits for itself: directly, or through handlers
// that wait for other lanes. Where a wait is for any of several lanes that takes a knot: every lane
// that n waits for, near or far, waits too, and for n.
//
// Each handler calls Begin before it asks, so of those that close a knot together the last one sees
// all of it. A walk alone could also see waits that never were there at one moment. So the knot
// counts only if, after the whole of it was seen, none of its waits was over: then they all lasted
// at the moment in between, and a knot can't end by itself.
func (n *Node) Deadlocked() bool {
	waits := map[*Node]*Wait{}
	for todo := []*Node{n}; len(todo) > 0; {
		node := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if waits[node] != nil {
			continue
		}
		w := node.wait.Load()
		if w == nil || w.ended() {
			return false // it runs, and will make room
		}
		waits[node] = w
		todo = append(todo, w.on...)
	}
	if !allReachable(waits, n) {
		return false // a knot beyond n, for those in it to find
	}
	for _, w := range waits {
		if w.ended() {
			return false
		}
	}
	return true
}

// allReachable tells whether every node waits, near or far, for n.
func allReachable(waits map[*Node]*Wait, n *Node) bool {
	reach := map[*Node]bool{}
	for grown := true; grown; {
		grown = false
		for node, w := range waits {
			if !reach[node] && slices.ContainsFunc(w.on, func(to *Node) bool { return to == n || reach[to] }) {
				reach[node], grown = true, true
			}
		}
	}
	return len(reach) == len(waits)
}
