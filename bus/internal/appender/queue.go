package appender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// Bounds of what gathers for one call of the log. The events of one Append always stay together.
const (
	maxEvents = 4096
	maxBytes  = 4 << 20
)

// queue is the appends to one partition. It is busy while a batch is under way: on the goroutine of
// its caller while nobody else is there, else on one of the bus that ends when the queue is empty.
type queue struct {
	place
	appender *Appender
	mu       struct {
		sync.Mutex
		numbers    numbers
		busy       bool // a batch has no answer yet, or the goroutine looks for the next
		head, tail *waiter
		waiting    int      // how many events of waiters are in the queue
		parts      []*batch // of a batch that was refused, to be tried before the queue
		open       int      // events without an answer

		ctx    context.Context // of calls of the log; nil: to be made
		end    context.CancelCauseFunc
		since  *time.Time // when the present batch was begun
		warned bool       // Report was told that it takes long
		doubt  error      // of its last attempt

		forget  bool // when it is idle
		removed bool // it was forgotten: there may be another one for the place
	}
}

// errRemoved: the queue was forgotten; there is another one, or will be.
var errRemoved = errors.New("the queue is gone")

// enter has events join. If nothing is under way the caller is to append the batch that it gets.
// Else it gets a waiter.
func (q *queue) enter(events []Event, results []Result, n int) (*batch, *waiter, error) {
	q.mu.Lock()
	switch {
	case q.appender.closed.Load():
		q.mu.Unlock()
		return nil, nil, q.appender.errClosed()
	case q.mu.removed:
		q.mu.Unlock()
		return nil, nil, errRemoved
	}
	q.mu.forget = false
	q.mu.open += n
	if q.mu.busy {
		w := q.appender.waiters.get()
		w.begin(events, results, n)
		w.bytes = w.size()
		q.pushLocked(w)
		q.mu.Unlock()
		return nil, w, nil
	}
	q.mu.busy = true
	b := q.appender.batches.get()
	q.beginLocked(b)
	q.mu.Unlock()
	b.here.begin(events, results, n)
	b.add(&b.here)
	return b, nil, nil
}

// next is the next batch; nil if there is none: the queue is idle then.
func (q *queue) next() *batch {
	q.mu.Lock()
	b := q.takeLocked()
	if b != nil {
		q.beginLocked(b)
		q.mu.Unlock()
		return b
	}
	q.idle()
	return nil
}

// takeLocked takes the next batch out.
func (q *queue) takeLocked() (b *batch) {
	switch {
	case q.appender.closed.Load(): // who waits knows
	case len(q.mu.parts) > 0:
		b = q.mu.parts[0]
		q.mu.parts = q.mu.parts[1:]
	case q.mu.head != nil:
		b = q.appender.batches.get()
		for w := q.mu.head; w != nil && (len(b.seats) == 0 || len(b.saved)+w.n <= maxEvents && b.bytes+w.bytes <= maxBytes); w = q.mu.head {
			q.unlinkLocked(w)
			b.add(w)
		}
	}
	return b
}

// beginLocked gives a batch its numbers.
func (q *queue) beginLocked(b *batch) {
	q.appender.arm()
	now := q.appender.watch.now.Load()
	q.mu.numbers.refresh(now)
	q.mu.since, q.mu.warned, q.mu.doubt = now, false, nil
	b.began = now
	q.numberLocked(b)
	b.ctx = q.contextLocked()
}

func (q *queue) numberLocked(b *batch) {
	b.publisher = transport.PublisherState{ID: q.appender.Publisher, Epoch: q.mu.numbers.epoch, Seq: q.mu.numbers.next}
}

// finish notes what became of a batch. The queue stays busy.
func (q *queue) finish(b *batch, s step) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finishLocked(b, s)
}

// finishHere is finish for a batch that its caller has appended. It reports whether there is more to
// append; if not, the queue is idle.
func (q *queue) finishHere(b *batch, s step) (more bool) {
	q.mu.Lock()
	q.finishLocked(b, s)
	if q.mu.head != nil {
		q.mu.Unlock()
		return true
	}
	q.idle()
	return false
}

func (q *queue) finishLocked(b *batch, s step) {
	switch s {
	case accept:
		q.mu.numbers.took(len(b.saved), b.began)
	case giveUp:
		q.mu.numbers.raise(1)
	case reject, repeat, renumber:
	}
	q.mu.open -= len(b.saved)
}

// split has a batch that was refused appended again, each waiter's events for themselves: one of
// them may be the reason.
func (q *queue) split(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range b.seats {
		q.mu.parts = append(q.mu.parts, b.part(s))
	}
}

// larger takes away the parts that have as many bytes as one that did not fit, or more.
func (q *queue) larger(than *batch) (parts []*batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.mu.parts[:0]
	for _, p := range q.mu.parts {
		if p.bytes >= than.bytes {
			parts = append(parts, p)
			q.mu.open -= len(p.saved)
		} else {
			kept = append(kept, p)
		}
	}
	q.mu.parts = kept
	return parts
}

// idle unlocks the queue: nothing is under way.
func (q *queue) idle() {
	q.mu.busy = false
	q.mu.parts = nil
	forget := q.mu.forget
	q.mu.Unlock()
	if forget {
		q.appender.drop(q)
	}
	q.appender.changes.Notify()
}

func (q *queue) pushLocked(w *waiter) {
	if w.prev = q.mu.tail; w.prev != nil {
		w.prev.next = w
	} else {
		q.mu.head = w
	}
	q.mu.tail = w
	q.mu.waiting += w.n
}

// unlinkLocked takes a waiter out.
func (q *queue) unlinkLocked(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.mu.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.mu.tail = w.prev
	}
	w.prev, w.next = nil, nil
	q.mu.waiting -= w.n
}

// remove takes a waiter out that gives up. It reports false if it is in the queue no more.
func (q *queue) remove(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.state.Load() != queued {
		return false
	}
	q.unlinkLocked(w)
	q.mu.open -= w.n
	return true
}

// contextLocked is the context of calls.
func (q *queue) contextLocked() context.Context {
	if q.mu.ctx == nil {
		q.mu.ctx, q.mu.end = context.WithCancelCause(q.appender.ctx)
	}
	return q.mu.ctx
}

// endContextLocked ends the calls that are under way.
func (q *queue) endContextLocked(cause error) {
	if q.mu.ctx != nil {
		q.mu.end(cause)
		q.mu.ctx = nil
	}
}

// report tells of trouble.
func (q *queue) report(err error) {
	q.appender.Report(q.topic, q.partition, fmt.Errorf("append: %w", errguard.Safe(err)))
}
