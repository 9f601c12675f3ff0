package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/bus/internal/retryqueue"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// This file is what a lane of a durable topic does besides: each event belongs to a lease of the log,
// which is asked before another attempt and told of every outcome.

// ErrCrashed: a handler was started for the event as often as Config.MaxStarts allows, and the process
// ended each time before there was an outcome. The event is a dead letter.
var ErrCrashed = errors.New("the process ended each time the event was handled")

// laneLog is what a lane of a durable topic has besides.
type laneLog struct {
	attend atomic.Bool // something is adopted, or to be given back

	// Under the lane's lock.
	adopted          []*consumer.Event // deferred events that are not in the retry queue yet
	returned, fenced uint64            // as in Stats

	mu       sync.Mutex
	leases   []any // of the events in hand
	cancel   context.CancelCauseFunc
	canceled bool // since the attempt began
}

// eventOf is the event of a cell off a log.
func eventOf[T any](c *cell[T]) *consumer.Event { return c.env.Extra.(*consumer.Event) }

// returnSoon has the lane give back what must not be started any more.
func (l *lane[T]) returnSoon() {
	l.attempts.log.attend.Store(true)
	l.signal()
}

// attendLog adopts deferred events, and gives back those that must not be started any more. The
// lane's goroutine calls it, with nothing in hand.
func (l *lane[T]) attendLog() {
	if !l.attempts.log.attend.CompareAndSwap(true, false) {
		return
	}
	l.mu.Lock()
	adopted := l.attempts.log.adopted
	l.attempts.log.adopted = nil
	for _, e := range adopted {
		item := retryqueue.Item[cell[T]]{Event: cell[T]{head: head{env: e.Envelope}}, N: l.box.Entered(), Attempt: e.Attempt()}
		key := e.Envelope.Key
		if e.Letter != 0 {
			key = "" // a replay keeps no order with events of its key
		}
		if key == "" || !l.mu.retries.Behind(key, item) {
			l.mu.retries.Defer(key, item, e.Due)
		}
	}
	var over []*consumer.Event
	leaving := l.ctl.Load()&ctlReturning != 0
	n := l.mu.retries.DeleteFunc(func(c *cell[T]) bool {
		e := eventOf(c)
		if !leaving && !e.Over() {
			return false
		}
		over = append(over, e)
		return true
	})
	l.attempts.log.returned += uint64(n) //nolint:gosec // a count
	rest := l.mu.retries.Len()
	l.mu.Unlock()
	for _, e := range over {
		e.Return()
	}
	if rest > 0 {
		l.armTimer()
	}
	l.cfg.core.changes.Notify()
}

// beginAttempt asks for leave to attempt what is in hand, and says of the rest what becomes of it.
func (b *attempts[T]) beginAttempt() {
	l := b.lane
	b.hold()
	for i := range b.items {
		it := &b.items[i]
		e := eventOf(&it.held)
		if l.ctl.Load()&(ctlReturning|ctlClosing) != 0 {
			it.disposed = &disposition{returned: true}
			continue
		}
		attempt, starts, err := e.Begin(l.ctx)
		switch {
		case err == nil && starts > l.cfg.core.maxStarts:
			it.number = attempt
			crashed := fmt.Errorf("%w: %d times", ErrCrashed, starts)
			it.disposed = &disposition{act: ActionDeadLetter, err: crashed, cause: crashed}
		case err == nil:
			it.number = attempt
		case errors.Is(err, consumer.ErrTrimmed):
			it.disposed = &disposition{returned: true, trimmed: true}
		default:
			it.disposed = &disposition{returned: true}
		}
	}
}

// openStages lets handlers publish within the events that are about to be attempted.
func (b *attempts[T]) openStages() {
	for i := range b.items {
		if it := &b.items[i]; it.disposed == nil {
			it.d.start = eventOf(&it.held).Open()
		}
	}
}

// sealStages ends that: what was published within an event is part of its outcome now.
func (b *attempts[T]) sealStages() {
	for i := range b.items {
		eventOf(&b.items[i].held).Seal()
	}
}

// fence says what becomes of the events in hand whose lease was lost meanwhile, or whose context was
// canceled for that of another.
func (b *attempts[T]) fence() {
	canceled := b.log.end()
	for i := range b.items {
		it := &b.items[i]
		if it.disposed != nil && (it.disposed.returned || !it.tried) {
			continue
		}
		switch e := eventOf(&it.held); {
		case e.Fenced():
			it.disposed = &disposition{fenced: true}
		case canceled && it.err != nil:
			it.disposed = &disposition{returned: true, unfinished: true}
		}
	}
}

// settle tells the log of every outcome.
func (b *attempts[T]) settle(now time.Time) {
	for i := range b.items {
		it := &b.items[i]
		e, j := eventOf(&it.held), it.disposed
		switch {
		case j == nil:
			e.Ack()
		case j.trimmed:
			e.Trimmed()
		case j.abandon, j.unfinished:
			e.Abandon()
		case j.returned, j.fenced:
			e.Return()
		case j.again():
			e.Defer(consumer.Deferral{
				Due: now.Add(j.after), Attempt: it.number, Key: it.key, Err: errorText(j.err), Failed: j.act != ActionSnooze,
			})
		case j.act == ActionDiscard:
			e.Discard()
		default:
			e.Dead(failure(j, it.number, now))
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return errguard.Text(err)
}

// failure is why an event is given up, as the log keeps it.
func failure(j *disposition, attempts int, now time.Time) transport.Failure {
	f := transport.Failure{Attempts: attempts, Stack: j.stack, Last: now}
	err := j.err
	if err == nil {
		err = j.cause // a verdict without an error of its own
	}
	if err != nil {
		f.Error, f.ErrorType = errguard.Text(err), fmt.Sprintf("%T", err)
	}
	return f
}

// hold notes whose events are in hand, so that the attempt can be canceled, and gives the lane a
// context that can be.
func (b *attempts[T]) hold() {
	l := b.lane
	g := b.log
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range b.items {
		g.leases = append(g.leases, eventOf(&b.items[i].held).Lease())
	}
	if g.cancel == nil {
		var ctx context.Context
		ctx, g.cancel = context.WithCancelCause(l.cfg.owner.context())
		l.ctx = &laneContext{Context: ctx, node: &l.node}
	}
}

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

// giveBack returns events to the log. It is called without locks.
func giveBack(events []*consumer.Event) {
	for _, e := range events {
		e.Return()
	}
}

// addLogStatsLocked adds what only a lane of a durable topic counts, with what is deferred.
func (l *lane[T]) addLogStatsLocked(sum *Stats, deferred uint64) {
	g := l.attempts.log
	deferred += uint64(len(g.adopted))
	if l.mu.closed {
		sum.Returned += deferred
	} else {
		sum.Deferred += deferred
	}
	sum.Returned += g.returned
	sum.Fenced += g.fenced
}
