package bus

import (
	"context"

	"github.com/shardbus/shardbus/bus/internal/waitgraph"
)

// laneNode is a lane as others see it without knowing its type.
type laneNode struct {
	waitgraph.Node
	core *core // of its bus
}

// runsHere tells whether the caller runs on the goroutine of the lane's handlers.
func (n *laneNode) runsHere() bool {
	l, ok := n.core.runQueue.Here().(interface{ laneNode() *laneNode })
	return ok && l.laneNode() == n
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
