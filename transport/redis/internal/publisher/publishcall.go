package publisher

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// publishCall is one Publish. Its caller fills it; once an event is queued, the lock of its node
// queue guards it, but for doc and seqAt, which are then the writer's.
type publishCall struct {
	events     []pendingEvent
	results    []transport.Result
	unresolved atomic.Int32  // events that are queued and not resolved, and 1 while more are to be queued
	done       chan struct{} // capacity 1: open became 0
	timeout    *time.Timer   // of the caller; stopped when it is not waiting
}

// pendingEvent is one event that waits to be accepted.
type pendingEvent struct {
	env *transport.Envelope // nil: refused
	route
	doc           []byte // encoded by the caller, but for its number; nil: to be encoded anew
	seqAt         int
	size          int
	seq           uint64 // 0: not assigned, never written
	abandonedText string // the channel queue's abandonedText when it was last taken
	queue         *channelQueue

	repeated bool // a pipeline that it was in failed, and nobody knows whether the server had accepted it

	caller   *publishCall // nil: its caller was told how it ended
	index    int          // in call.results
	inFlight bool         // it is in a batch that was taken and not resolved
	done     bool         // it ended
	dead     bool         // the caller was told an error already, and waits no longer
}

func (it *pendingEvent) queueKey() queueKey {
	return queueKey{publisher: it.env.Publisher, channel: it.channel}
}

// callPool keeps calls for re-use. Each transport has its own: a call has a channel, and one that
// was made in a synctest bubble must not be used in another.
type callPool struct{ pool sync.Pool }

// get returns a call for as many events as there are results.
func (p *callPool) get(results []transport.Result) *publishCall {
	c, ok := p.pool.Get().(*publishCall)
	if !ok {
		c = &publishCall{done: make(chan struct{}, 1)}
	}
	if cap(c.events) < len(results) {
		c.events = make([]pendingEvent, len(results))
	}
	c.events = c.events[:len(results)]
	c.results = results
	c.unresolved.Store(1)
	return c
}

// Calls beyond these bounds are not kept for reuse.
const (
	keptEvents = 128
	keptBytes  = 64 << 10
)

// put gives the call's memory to the next. Every event was resolved, so no writer uses it any more.
func (p *callPool) put(c *publishCall) {
	if cap(c.events) > keptEvents {
		return
	}
	bytes := 0
	for i := range c.events {
		it := &c.events[i]
		bytes += cap(it.doc)
		*it = pendingEvent{doc: it.doc}
	}
	if bytes > keptBytes {
		return
	}
	c.results = nil
	p.pool.Put(c)
}

// timer starts the call's timer. Whoever waits stops it.
func (c *publishCall) timer(d time.Duration) *time.Timer {
	if c.timeout == nil {
		c.timeout = time.NewTimer(d)
	} else {
		c.timeout.Reset(d)
	}
	return c.timeout
}

// release takes one off what the call waits for, and reports whether that was the last: then done
// is to be told.
func (c *publishCall) release() bool {
	return c.unresolved.Add(-1) == 0
}

// wait blocks until the call's events are resolved, or ctx ends, or the timer fires.
func (c *publishCall) wait(ctx context.Context, timeout <-chan time.Time) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timeout:
		return conn.ErrTimeout
	}
}
