package bus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/bus/internal/consumer"
)

// This file is what a lane of a durable topic does besides: each event belongs to a lease of the log,
// which is asked before another attempt and told of every outcome.

// ErrCrashed: a handler was started for the event as often as Config.MaxStarts allows, and the process
// ended each time before there was an outcome. The event is a dead letter.
var ErrCrashed = errors.New("the process ended each time the event was handled")

// laneLog is what a lane of a durable topic has besides.
type laneLog struct {
	attend  atomic.Bool // something is adopted, or to be given back
	returns atomic.Bool // the second

	// Under the lane's lock.
	adopted          []adopted // that are not in the retry queue yet
	givingBack       int       // events that have left the lane, and that nobody else has yet
	released         bool      // of a lane that is closed: all it had has been given back
	returned, fenced uint64    // as in Stats

	mu       sync.Mutex
	leases   []any // of the events in hand
	cancel   context.CancelCauseFunc
	canceled bool // since the attempt began
}

// adopted is an event that a lane was given which was with the bus before, or deferred by an earlier
// holder of its lease.
type adopted struct {
	e     *consumer.Event
	back  bool   // it was given back
	n     uint64 // how many events had entered the lane
	epoch int    // of the group, if it may have to wait for another member
}

// eventOf is the event of a cell off a log.
func eventOf[T any](c *cell[T]) *consumer.Event { return c.env.Extra.(*consumer.Event) }

// end says that nothing is in hand, and reports whether the attempt was canceled.
func (g *laneLog) end() (canceled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.leases)
	g.leases = g.leases[:0]
	if canceled = g.canceled; canceled {
		g.cancel, g.canceled = nil, false
	}
	return canceled
}

// cancelIf ends the context of the attempt, if it has events of the lease.
func (g *laneLog) cancelIf(lease any, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Contains(g.leases, lease) && !g.canceled {
		g.canceled = true
		g.cancel(err)
	}
}
