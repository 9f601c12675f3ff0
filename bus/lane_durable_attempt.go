package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// This file is what a lane of a durable topic does before an attempt, and after it.

// errCutShort is why an event was not started, or not finished, whose lease lives.
var errCutShort = errors.New("the attempt was cut short, as the lease of an event beside it was lost")

// cutShort is the verdict on such an event: it comes again, and no attempt is counted.
func cutShort() error { return &Verdict{Action: ActionSnooze, Err: errCutShort} }

// beginAttempt asks for leave to attempt what is in hand, and says of the rest what becomes of it.
func (b *attempts[T]) beginAttempt() {
	l := b.lane
	b.hold()
	var waits []string // keys of which an event was not started, and comes again
	for i := range b.items {
		it := &b.items[i]
		e := eventOf(&it.held)
		if l.ctl.Load()&(ctlReturning|ctlClosing) != 0 {
			it.disposed = &disposition{returned: true}
			continue
		}
		if key := e.Envelope.Key; key != "" && slices.Contains(waits, key) {
			it.err, it.tried = cutShort(), true
			continue
		}
		attempt, starts, err := e.Begin(l.ctx)
		switch {
		case err == nil && starts > l.core.maxStarts:
			it.number = attempt
			crashed := fmt.Errorf("%w: %d times", ErrCrashed, starts)
			it.disposed = &disposition{act: ActionDeadLetter, err: crashed, cause: crashed}
		case err == nil:
			it.number = attempt
		case errors.Is(err, consumer.ErrTrimmed):
			it.disposed = &disposition{returned: true, trimmed: true}
		case e.Over() || l.ctl.Load()&(ctlReturning|ctlClosing) != 0:
			it.disposed = &disposition{returned: true}
		default:
			it.err, it.tried = cutShort(), true
			waits = append(waits, e.Envelope.Key)
		}
	}
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

// openStages lets handlers publish within the events that are about to be attempted.
func (b *attempts[T]) openStages() {
	for i := range b.items {
		if it := &b.items[i]; it.disposed == nil && !it.tried {
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
		if !it.tried || it.disposed != nil && it.disposed.returned {
			continue
		}
		switch e := eventOf(&it.held); {
		case e.Fenced():
			it.disposed = &disposition{fenced: true}
		case canceled && it.err != nil:
			it.err, it.disposed = cutShort(), nil
		}
	}
}

// settle tells the log of every outcome; counted says that they are in the ledger.
func (b *attempts[T]) settle(now time.Time, counted bool) {
	for i := range b.items {
		it := &b.items[i]
		e, j := eventOf(&it.held), it.disposed
		switch {
		case j == nil:
			e.Ack()
		case j.trimmed:
			e.Trimmed()
		case j.abandon:
			e.Abandon()
		case j.returned, j.fenced:
			e.Return()
		case j.again():
			b.settleAgain(it, now, counted)
		case j.act == ActionDiscard:
			e.Discard()
		default:
			e.Dead(failure(j, it.number, now))
		}
	}
}

// settleAgain tells the log that an event waits for another attempt.
func (b *attempts[T]) settleAgain(it *attempt[T], now time.Time, counted bool) {
	e, j, number := eventOf(&it.held), it.disposed, it.number
	if !counted {
		number = j.nextAttempt(number)
	}
	e.Defer(consumer.Deferral{
		Due: now.Add(j.after), Attempt: number, Key: e.Envelope.Key, Err: errorText(j.err), Failed: j.act != ActionSnooze,
	})
	if e.Over() || b.lane.ctl.Load()&ctlReturning != 0 { // the lane has looked for what is to be given back
		b.log.returns.Store(true)
		b.log.attend.Store(true)
	}
}

// tellBehinds tells the log of what waits behind the events that come again.
func (b *attempts[T]) tellBehinds() {
	l := b.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.items {
		if it := &b.items[i]; it.disposed != nil && it.disposed.again() && it.key != "" {
			l.tellBehindsLocked(it.key)
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
