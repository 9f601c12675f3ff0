package redis

import (
	"context"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// call is one Publish. Its caller fills it; once an item is queued, outbox.mu guards it, but for doc and seqAt, which
// are then the writer's.
type call struct {
	items   []item
	results []transport.Result
	open    int           // items that are queued and not settled, and 1 while more are to be queued
	done    chan struct{} // capacity 1: open became 0
	timeout *time.Timer   // of the caller; stopped when it is not waiting
}

// item is one event that waits to be accepted.
type item struct {
	env *transport.Envelope // nil: refused
	route
	doc    []byte // encoded by the caller, but for its number; nil: to be encoded anew
	seqAt  int
	size   int
	seq    uint64 // 0: not assigned, never written
	given  string // the stream's givenTo when it was last taken
	stream *stream

	repeated bool // a pipeline that it was in failed, and nobody knows whether the server had accepted it

	call    *call // nil: its caller was told how it ended
	index   int   // in call.results
	flying  bool  // it is in a batch that was taken and not settled
	settled bool  // it ended
	dead    bool  // the caller was told an error already, and waits no longer
}

// callPool keeps calls for re-use. Each transport has its own: a call has a channel, and one that was made in a
// synctest bubble must not be used in another.
type callPool struct{ pool sync.Pool }

// get returns a call for as many events as there are results.
func (p *callPool) get(results []transport.Result) *call {
	c, ok := p.pool.Get().(*call)
	if !ok {
		c = &call{done: make(chan struct{}, 1)}
	}
	if cap(c.items) < len(results) {
		c.items = make([]item, len(results))
	}
	c.items = c.items[:len(results)]
	c.results, c.open = results, 1
	return c
}

// Calls beyond these bounds are not kept for reuse.
const (
	keptItems = 128
	keptBytes = 64 << 10
)

// put gives the call's memory to the next. Every item was settled, so no writer uses it any more.
func (p *callPool) put(c *call) {
	if cap(c.items) > keptItems {
		return
	}
	bytes := 0
	for i := range c.items {
		it := &c.items[i]
		bytes += cap(it.doc)
		*it = item{doc: it.doc}
	}
	if bytes > keptBytes {
		return
	}
	c.results = nil
	p.pool.Put(c)
}

// timer starts the call's timer. Whoever waits stops it.
func (c *call) timer(d time.Duration) *time.Timer {
	if c.timeout == nil {
		c.timeout = time.NewTimer(d)
	} else {
		c.timeout.Reset(d)
	}
	return c.timeout
}

// release takes one off what the call waits for, and reports whether that was the last: then done is to be told.
func (c *call) release() bool {
	c.open--
	return c.open == 0
}

// wait blocks until the call's items are settled, or ctx ends, or the timer fires.
func (c *call) wait(ctx context.Context, timeout <-chan time.Time) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timeout:
		return ErrTimeout
	}
}
