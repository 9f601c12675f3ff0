// Package appender is the publishing half of durable topics. It numbers the events of a bus, and
// repeats an append whose outcome is unknown with the same numbers, so that no event is added twice
// and none is left out.
package appender

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/signal"
	"github.com/shardbus/shardbus/transport"
)

// Config is what an Appender works with. All of it must be set.
type Config struct {
	// Log takes the events.
	Log transport.Log
	// Publisher is the incarnation of the bus. No other Appender may have it.
	Publisher string
	// Go runs f on a goroutine that the bus waits for, and returns at once. It reports false, and
	// runs nothing, if the bus has ended.
	Go func(what string, f func()) bool
	// Report is told of trouble that no call returns: numbers that did not fit, an append that stays
	// without an answer. It must not block, and is called rarely.
	Report func(topic string, partition int, err error)
}

// Event is an event to append.
type Event struct {
	Envelope *transport.Envelope
	// Due and UserID are as in [transport.Batch].
	Due    time.Time
	UserID bool
}

// Result is what became of an event.
type Result struct {
	// Offset is the event's; of a duplicate that of the first event with its ID. 0: it has none yet,
	// or the log does not know it any more.
	Offset uint64
	// Duplicate: it was not added, as its ID was seen before.
	Duplicate bool
	// Waiting: it was taken, and is added when it is due.
	Waiting bool
	// Repeated: it took more than one attempt to learn what became of it.
	Repeated bool
	// Err is nil if the event is in the log, as often as the topic asks for. One that wraps
	// ErrUncertain: it may be there, or get there yet. One that wraps ErrNotReplicated: it is there.
	// Any other: it is not there.
	Err error
}

// Appender appends events to a log. Each partition of a topic has one call of the log in flight;
// events that come meanwhile gather for the next one. All methods are safe for concurrent use.
type Appender struct {
	Config
	limit   transport.LogCapabilities
	ctx     context.Context // of all calls of the log
	cancel  context.CancelCauseFunc
	closed  atomic.Bool
	changes signal.Broadcast // a queue has become idle
	watch   watch
	waiters waiters
	batches batches

	mu     sync.RWMutex // before that of a queue
	queues map[place]*queue
	epoch  uint32 // that new queues begin with: above those of all that were forgotten
}

// place is a partition of a topic.
type place struct {
	topic     string
	partition int
}

// New returns an Appender that has appended nothing. ctx has values for calls of the log; its end does not
// matter: Close ends them.
func New(ctx context.Context, c Config) *Appender {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	return &Appender{Config: c, limit: c.Log.LogCapabilities(), ctx: ctx, cancel: cancel, queues: make(map[place]*queue), epoch: 1}
}

// Append adds events to a partition, in one batch, which the log takes whole or not at all. It
// returns when the log has them, with results[i] for events[i]. An event whose payload is too large
// fails by itself, with ErrTooLarge, and the batch is made of the others.
//
// If ctx ends before the log was asked, its cause is the error, and nothing was appended. If it ends
// later, the error wraps ErrUncertain and the cause, and the append goes on without the caller.
//
// The slices belong to the caller again afterwards; the envelopes, with all they point to, do not.
func (a *Appender) Append(ctx context.Context, topic string, partition int, events []Event, results []Result) {
	clear(results)
	n := a.check(events, results)
	if n == 0 {
		return
	}
	if ctx.Err() != nil {
		fail(results, errguard.Safe(context.Cause(ctx)))
		return
	}
	for {
		q := a.queue(place{topic, partition})
		if q == nil {
			fail(results, a.errClosed())
			return
		}
		b, w, err := q.enter(events, results, n)
		switch {
		case err == errRemoved: //nolint:errorlint // it is never wrapped
			continue
		case err != nil:
			fail(results, err)
		case b != nil:
			q.appendHere(ctx, b)
		default:
			q.wait(ctx, w)
		}
		return
	}
}

// check fails the events that are too large, and returns how many are left.
func (a *Appender) check(events []Event, results []Result) int {
	n := len(events)
	if a.limit.MaxPayload == 0 {
		return n
	}
	for i := range events {
		if err := a.limit.CheckPayload(events[i].Envelope.Payload); err != nil {
			results[i].Err = err
			n--
		}
	}
	return n
}

// queue is the queue of a place; nil if the appender is closed.
func (a *Appender) queue(at place) *queue {
	a.mu.RLock()
	q := a.queues[at]
	a.mu.RUnlock()
	if q != nil {
		return q
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed.Load() {
		return nil
	}
	if q = a.queues[at]; q == nil {
		q = &queue{place: at, appender: a}
		q.mu.numbers = numbers{epoch: a.epoch, next: 1}
		a.queues[at] = q
	}
	return q
}

// Forget lets go of what is kept for a topic. What is on its way goes on, and is let go of then.
// Numbers are never given again: later events of the topic have a higher epoch.
func (a *Appender) Forget(topic string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for at, q := range a.queues {
		if at.topic != topic {
			continue
		}
		q.mu.Lock()
		if q.mu.busy {
			q.mu.forget = true
		} else {
			a.dropLocked(q)
		}
		q.mu.Unlock()
	}
}

// dropLocked removes a queue that is not busy. Its lock is held too.
func (a *Appender) dropLocked(q *queue) {
	q.mu.removed = true
	q.endContextLocked(nil)
	a.epoch = max(a.epoch, q.mu.numbers.epoch+1)
	delete(a.queues, q.place)
}

// drop removes a queue that has become idle, if it is idle still and to be forgotten.
func (a *Appender) drop(q *queue) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.forget && !q.mu.busy && !q.mu.removed {
		a.dropLocked(q)
	}
}

// Open is how many events have no answer yet: those that wait for a call of the log, and those in
// one, also where their callers have left.
func (a *Appender) Open() (events int) {
	for q := range a.all {
		events += q.mu.open
	}
	return events
}

// Wait returns nil when no append is open, or the cause of ctx's end.
func (a *Appender) Wait(ctx context.Context) error {
	return a.changes.Wait(ctx, func() bool {
		for q := range a.all {
			if q.mu.busy {
				return false
			}
		}
		return true
	})
}

// all are the queues, each locked meanwhile.
func (a *Appender) all(yield func(*queue) bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, q := range a.queues {
		q.mu.Lock()
		more := yield(q)
		q.mu.Unlock()
		if !more {
			return
		}
	}
}

// Close ends all: what waits for a call of the log fails with an error that wraps ErrClosed and
// cause, and so does each later Append; what is in a call is uncertain. The context of such calls
// ends. Closing again does nothing.
func (a *Appender) Close(cause error) {
	a.mu.Lock()
	a.closed.Store(true)
	a.mu.Unlock()
	a.cancel(fmt.Errorf("%w: %w", transport.ErrClosed, errguard.Safe(cause)))
	a.watch.stop()
}

// errClosed is the error of what was not begun.
func (a *Appender) errClosed() error { return context.Cause(a.ctx) }
