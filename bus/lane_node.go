package bus

import (
	"context"

	"github.com/shardbus/shardbus/bus/internal/runqueue"
	"github.com/shardbus/shardbus/bus/internal/waitgraph"
)

// laneNode is a lane as others see it without knowing its type.
type laneNode struct {
	waitgraph.Node
	sub *Subscription
}

// runsHere tells whether the caller runs on the goroutine of the lane's handlers.
func (n *laneNode) runsHere() bool {
	l, ok := n.sub.bus.runQueue.Here().(interface{ laneNode() *laneNode })
	return ok && l.laneNode() == n
}

// userRunner is what the run queue of a bus runs: a lane, or a call of OnGap.
type userRunner interface {
	runqueue.Runner
	subscription() *Subscription
	role() string // names the user's function that it calls
}

// runnerHere is the one of this bus on whose goroutine the caller runs, or nil.
func (b *Bus) runnerHere() userRunner {
	r, _ := b.runQueue.Here().(userRunner)
	return r
}

// laneContext is a handler's context: it knows its lane. There is one for each lane, not for each
// event.
type laneContext struct {
	context.Context
	node *laneNode
}

type laneKey struct{}

func (c *laneContext) Value(key any) any {
	if key == (laneKey{}) {
		return c.node
	}
	return c.Context.Value(key)
}

// callerLane is the lane whose handler was given ctx or its parent, or nil.
func callerLane(ctx context.Context) *laneNode {
	if ctx == nil { // of a Publish that has not waited yet
		return nil
	}
	l, _ := ctx.Value(laneKey{}).(*laneNode)
	return l
}
