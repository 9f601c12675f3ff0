package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
	"github.com/shardbus/shardbus/internal/errguard"
)

// disposition is what a failed attempt leads to.
type disposition struct {
	act      Action
	after    time.Duration // of ActionRetry and ActionSnooze
	key      string        // to defer it by; "" if it has none
	actor    string        // whose actor panicked, by key
	err      error         // the verdict's
	cause    error         // the attempt's
	stack    []byte        // of the attempt's panic
	abandon  bool          // it was cut short: act is no verdict on the event
	panicked bool          // the handler or a middleware panicked or called Goexit
	thrown   *PanicError   // the panic, if it was one
}

// minDelay is the least time until another attempt. Without it an event that can't be
// handled now, and asks for no delay, would keep a processor busy for as long as that lasts.
const minDelay = time.Millisecond

// dispose finds the verdict in err, or makes one: without a valid one the delivery
// is a dead letter. What is kept of err is safe to be asked: its methods are user code.
func dispose(err error) (j disposition) {
	err = errguard.Safe(err)
	j = disposition{act: ActionDeadLetter, err: err, cause: err}
	if pe, ok := errguard.As[*PanicError](err); ok {
		j.stack, j.panicked, j.thrown = pe.Stack, true, pe
	}
	j.panicked = j.panicked || errguard.Is(err, ErrGoexit)
	if v, ok := VerdictOf(err); ok && v.Action >= ActionRetry && v.Action <= ActionDiscard {
		j.act, j.after, j.err = v.Action, max(minDelay, v.After), errguard.Safe(v.Err)
	}
	return j
}

// again tells whether the delivery gets another attempt.
func (j *disposition) again() bool {
	return !j.abandon && (j.act == ActionRetry || j.act == ActionSnooze)
}

// finishFailed ends a failed attempt at the current delivery.
func (l *lane[T]) finishFailed(err error) {
	c, g := l.current, l.group
	if c == nil {
		return
	}
	s := l.sub
	// What is decided stays so: if user code below, the Key or OnDeadLetter, ends
	// the goroutine, caught comes here again.
	j := l.disposed
	if j == nil {
		l.beginDisposing()
		j = l.dispose(err, g != nil)
		l.disposed = j
		if j.act == ActionDeadLetter && !j.abandon {
			s.keepDeadLetter(l.ctx, deadLetter(c, l.d, j))
		}
	}
	if !j.again() {
		l.failAsker(c, j)
	}
	l.record(c, g, j)
	l.current, l.group, l.disposed = nil, nil, nil
	if l.mu.retries.Len() > 0 {
		l.armTimer()
	}
	if j.panicked {
		s.countPanic(l.failed(j), j.cause)
	}
}

// dispose is the disposition on the current delivery, which is deferred already or not.
func (l *lane[T]) dispose(err error, deferred bool) *disposition {
	j := dispose(err)
	// Not after Goexit, which may have been the Key's.
	if j.stack != nil && l.sub.hook != nil {
		j.actor, _ = l.key() // a Key that panics too names nobody
	}
	if j.again() && !deferred {
		var keyErr *PanicError
		if j.key, keyErr = l.key(); keyErr != nil {
			j = disposition{act: ActionDeadLetter, err: keyErr, cause: keyErr, stack: keyErr.Stack, panicked: true}
		}
	}
	j.abandon = l.sub.ctl.Load()&ctlClosing != 0 && j.act != ActionDiscard
	return &j
}

// failed names who panicked: the lane, or the actor of the event's key.
func (l *lane[T]) failed(j *disposition) string {
	if l.sub.hook == nil || j.actor == "" {
		return laneName(l.index)
	}
	return actorName(j.actor)
}

// failAsker tells an asker that the delivery was given up, and why.
func (l *lane[T]) failAsker(c *cell[T], j *disposition) {
	err := j.err
	switch {
	case j.abandon:
		err = ErrClosed
	case err == nil:
		err = ErrNoReply
	}
	l.sub.failAsker(*c, err)
}

// record enters the end of an attempt at c in the ledger, and defers c if it
// gets another. g is where it was deferred, nil if it was not.
func (l *lane[T]) record(c *cell[T], g *retryqueue.Key[cell[T]], j *disposition) {
	attempt := l.d.attempt
	var due time.Time
	if j.again() {
		due = time.Now().Add(j.after)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foldLocked()
	l.mu.disposing = false
	if g != nil {
		l.mu.retrying, l.mu.retry = false, nil
	}
	l.countLocked(j, &attempt)
	switch {
	case j.again() && g != nil:
		l.mu.retries.Return(g, due, retryqueue.Item[cell[T]]{Event: *c, N: g.First.N, Attempt: attempt})
	case j.again():
		l.mu.retries.Defer(j.key, retryqueue.Item[cell[T]]{Event: *c, N: l.box.Number(), Attempt: attempt}, due)
	case g != nil:
		l.mu.retries.Return(g, time.Time{})
	}
}

// countLocked enters the end of an attempt in the ledger, a success where j is nil, and
// reports whether there is another attempt, whose number is in *attempt then. The
// lane's lock is held.
func (l *lane[T]) countLocked(j *disposition, attempt *int) (again bool) {
	if j == nil {
		l.mu.handled++
		return false
	}
	if j.act != ActionSnooze {
		l.mu.failed++
	}
	if j.panicked {
		l.mu.panicked++
	}
	switch {
	case j.abandon:
		l.mu.abandoned++
	case j.act == ActionRetry:
		l.mu.retried++
		*attempt++
	case j.act == ActionSnooze:
		l.mu.snoozed++
	case j.act == ActionDiscard:
		l.mu.discarded++
	default:
		l.mu.dead++
	}
	return j.again()
}

// foldLocked adds the events taken and not yet accounted for to handled, but
// for the current one, and says that none is running.
func (l *lane[T]) foldLocked() {
	taken, running := l.cursorLocked()
	if taken > l.mu.base {
		l.mu.handled += taken - l.mu.base
		if running {
			l.mu.handled--
		}
		l.mu.base = taken
	}
	l.box.MarkDone()
}

// cursorLocked is how many events were taken, and whether the last runs.
func (l *lane[T]) cursorLocked() (taken uint64, running bool) {
	taken, running = l.box.Cursor()
	if l.mu.closed && taken > l.mu.closedAt { // too late: it was abandoned before
		return l.mu.closedAt, false
	}
	return taken, running
}
