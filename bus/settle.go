package bus

import (
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// judgment is what a failed attempt leads to.
type judgment struct {
	act      Action
	after    time.Duration // of ActionRetry and ActionSnooze
	key      string        // to park it by; "" if it has none
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

// judge finds the verdict in err, or makes one: without a valid one the delivery
// is a dead letter. What is kept of err is safe to be asked: its methods are user code.
func judge(err error) (j judgment) {
	err = errguard.Safe(err)
	j = judgment{act: ActionDeadLetter, err: err, cause: err}
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
func (j *judgment) again() bool {
	return !j.abandon && (j.act == ActionRetry || j.act == ActionSnooze)
}

// settle ends a failed attempt at the current delivery.
func (l *lane[T]) settle(err error) {
	c, g := l.current, l.group
	if c == nil {
		return
	}
	s := l.sub
	// What is judged stays so: if user code below, the Key or OnDeadLetter, ends
	// the goroutine, caught comes here again.
	j := l.judged
	if j == nil {
		l.beginSettling()
		j = l.judge(err, g != nil)
		l.judged = j
		if j.act == ActionDeadLetter && !j.abandon {
			s.keepDeadLetter(l.ctx, deadLetter(c, l.d, j))
		}
	}
	if !j.again() {
		l.forsake(c, j)
	}
	l.account(c, g, j)
	l.current, l.group, l.judged = nil, nil, nil
	if l.mu.parking.n > 0 {
		l.armTimer()
	}
	if j.panicked {
		s.countPanic(l.failed(j), j.cause)
	}
}

// judge is the judgment on the current delivery, which is parked already or not.
func (l *lane[T]) judge(err error, parked bool) *judgment {
	j := judge(err)
	// Not after Goexit, which may have been the Key's.
	if j.stack != nil && l.sub.attendant != nil {
		j.actor, _ = l.key() // a Key that panics too names nobody
	}
	if j.again() && !parked {
		var keyErr *PanicError
		if j.key, keyErr = l.key(); keyErr != nil {
			j = judgment{act: ActionDeadLetter, err: keyErr, cause: keyErr, stack: keyErr.Stack, panicked: true}
		}
	}
	j.abandon = l.sub.ctl.Load()&ctlClosing != 0 && j.act != ActionDiscard
	return &j
}

// failed names who panicked: the lane, or the actor of the event's key.
func (l *lane[T]) failed(j *judgment) string {
	if l.sub.attendant == nil || j.actor == "" {
		return laneName(l.index)
	}
	return actorName(j.actor)
}

// forsake tells an asker that the delivery was given up, and why.
func (l *lane[T]) forsake(c *cell[T], j *judgment) {
	err := j.err
	switch {
	case j.abandon:
		err = ErrClosed
	case err == nil:
		err = ErrNoReply
	}
	l.sub.forsake(*c, err)
}

// account enters the end of an attempt at c in the ledger, and parks c if it
// gets another. g is where it was parked, nil if it was not.
func (l *lane[T]) account(c *cell[T], g *parkedKey[T], j *judgment) {
	attempt := l.d.attempt
	var due time.Time
	if j.again() {
		due = time.Now().Add(j.after)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foldLocked()
	l.mu.settling = false
	if g != nil {
		l.mu.retrying, l.mu.retry = false, nil
	}
	l.tally(j, &attempt)
	switch {
	case j.again() && g != nil:
		l.mu.parking.again(g, c, attempt, due)
	case j.again():
		l.mu.parking.park(j.key, c, l.takenLast(), attempt, due)
	case g != nil:
		l.mu.parking.next(g)
	}
}

// tally enters the end of an attempt in the ledger, a success where j is nil, and
// reports whether there is another attempt, whose number is in *attempt then. The
// lane's lock is held.
func (l *lane[T]) tally(j *judgment, attempt *int) (again bool) {
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
	if l.lossy {
		l.mu.box.running = false
	} else {
		l.reader.Settle()
	}
}

// cursorLocked is how many events were taken, and whether the last runs.
func (l *lane[T]) cursorLocked() (taken uint64, running bool) {
	if l.lossy {
		return l.mu.box.taken, l.mu.box.running
	}
	taken, running = l.reader.Cursor()
	if l.mu.cut && taken > l.mu.cutAt { // too late: it was abandoned before
		return l.mu.cutAt, false
	}
	return taken, running
}
