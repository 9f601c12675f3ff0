package appender

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/errguard"
)

// waiter is a call of Append.
type waiter struct {
	of      *waiters // nil: it is part of a batch
	events  []Event
	results []Result
	n       int // how many of the events are to be appended: those whose results have no error
	bytes   int // about; set when it waits in a queue
	state   atomic.Int32
	done    chan struct{} // has room for one: results are set

	prev, next *waiter // in the queue
}

// States of a waiter. Only its queue, locked, has it change from queued. Who changes it from
// appending has its results.
const (
	queued int32 = iota
	appending
	answered
	abandoned
)

// waiters are those that can be used again. They are of one Appender, since in a test's bubble their
// channels belong to it.
type waiters struct{ pool sync.Pool }

func (f *waiters) get() *waiter {
	w, ok := f.pool.Get().(*waiter)
	if !ok {
		w = &waiter{of: f, done: make(chan struct{}, 1)}
	}
	return w
}

// begin has w wait for events. n of them have no error yet.
func (w *waiter) begin(events []Event, results []Result, n int) {
	w.events, w.results, w.n, w.bytes = events, results, n, 0
	w.state.Store(queued)
}

// release has the waiter used again. Nobody else may know it.
func (w *waiter) release() {
	w.events, w.results = nil, nil
	if w.of != nil {
		w.of.pool.Put(w)
	}
}

// fail gives all events without an error this one.
func fail(results []Result, err error) {
	for i := range results {
		if results[i].Err == nil {
			results[i].Err = err
		}
	}
}

// size is about how many bytes the events have.
func (w *waiter) size() (bytes int) {
	for i := range w.events {
		bytes += w.events[i].Envelope.Size()
	}
	return bytes
}

// wait returns when w is answered, or its results say why it is not.
func (q *queue) wait(ctx context.Context, w *waiter) {
	var cause error
	select {
	case <-w.done:
		w.release()
		return
	case <-ctx.Done():
		cause = errguard.Safe(context.Cause(ctx))
	case <-q.appender.ctx.Done():
		cause = q.appender.errClosed()
	}
	switch {
	case q.remove(w):
		fail(w.results, cause)
		w.release()
	case w.state.CompareAndSwap(appending, abandoned):
		fail(w.results, uncertain(cause)) // the batch knows w
	default:
		<-w.done
		w.release()
	}
}
