package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/shardbus/shardbus/internal/ring"
	"github.com/shardbus/shardbus/transport"
)

// workers is how many goroutines a Reader has at most that fetch and commit. A log in a file joins the
// commits of several in one write.
const workers = 8

// ReaderConfig is what a Reader needs of its bus.
type ReaderConfig struct {
	Log transport.Log
	// Member is the bus's name for messages of the log.
	Member string
	// Go runs f, which ends by itself, on a goroutine that the bus waits for. It returns false when the
	// bus has ended.
	Go func(what string, f func()) bool
	// Report tells of a failure that is nobody's return value and mends by itself, or not.
	Report func(topic, consumer string, err error)
	// Changed is called when something is committed or released. It must not block.
	Changed func()
	// Grace bounds what is said to the log when the bus ends abruptly.
	Grace time.Duration
}

// Reader reads the durable topics of one bus.
type Reader struct {
	cfg ReaderConfig
	ctx context.Context // of calls of the log; ends with Wait
	end context.CancelCauseFunc

	consumers sync.WaitGroup // that are not closed

	mu      sync.Mutex
	queue   ring.Ring[*lease] // that have something to do
	working int
}

// NewReader makes a Reader. It starts nothing. ctx has values for calls of the log; its end does not
// matter.
func NewReader(ctx context.Context, cfg ReaderConfig) *Reader {
	r := &Reader{cfg: cfg}
	r.ctx, r.end = context.WithCancelCause(context.WithoutCancel(ctx))
	return r
}

// Wait waits until every consumer is closed, and ends the Reader.
func (r *Reader) Wait() {
	r.consumers.Wait()
	r.end(transport.ErrClosed)
}

// schedule has a worker look after l, which is not on the queue. When the bus has ended and no worker
// is left, nobody does: Close looks after the lease then.
func (r *Reader) schedule(l *lease) {
	r.mu.Lock()
	r.queue.Push(&l)
	start := r.working < workers
	if start {
		r.working++
	}
	r.mu.Unlock()
	if start && !r.cfg.Go("reading durable topics", r.work) {
		r.mu.Lock()
		r.working--
		r.mu.Unlock()
	}
}

// work looks after leases until none has anything to do.
func (r *Reader) work() {
	for {
		var l *lease
		r.mu.Lock()
		if !r.queue.Pop(&l) {
			r.working--
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		l.run()
	}
}
