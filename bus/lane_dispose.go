package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// failCurrent ends a failed attempt at the event that was handled where it stands.
func (l *lane[T]) failCurrent(err error) {
	b := l.hand()
	b.items = append(b.items, attempt[T]{cell: l.current, d: l.d, n: l.box.Number(), number: 1, err: err, tried: true})
	l.current = nil
	b.finish()
}

// abort settles what is in hand when its attempt did not end by itself, mostly because user
// code called runtime.Goexit: what has no result failed with err.
func (b *attempts[T]) abort(err error) {
	for i := range b.items {
		if it := &b.items[i]; !it.tried {
			it.err, it.tried = err, true
		}
	}
	b.finish()
}

// finish ends the attempt: every event goes to one place of the ledger, or is deferred, all under
// one hold of the lane's lock. If user code that it calls ends the goroutine, it is called again,
// and goes on where it was.
func (b *attempts[T]) finish() {
	if len(b.items) == 0 {
		return
	}
	l := b.lane
	if l.durable {
		b.sealStages()
		b.fence()
	}
	again, began := false, false
	for i := range b.items {
		it := &b.items[i]
		if it.err == nil && it.disposed == nil {
			continue
		}
		if !began {
			l.beginDisposing()
			began = true
		}
		b.dispose(it)
		again = again || it.disposed.again()
		if !again {
			b.keep(it)
		}
	}
	if again && len(b.items) > 1 {
		b.keepOrder()
	}
	for i := range b.items {
		if it := &b.items[i]; it.disposed != nil && !it.disposed.again() {
			l.failAsker(it.cell, it.disposed)
		}
	}
	panics := b.panics()
	now := time.Now()
	// Another member may start the next event of a key once this one has done with it: the log is told
	// before, and what is given back has been.
	moving := l.durable && l.cfg.keys != nil && l.cfg.keys.Moving()
	if moving {
		b.settle(now, false)
	}
	b.record(now)
	if l.durable && !moving {
		b.settle(now, true)
	}
	if l.durable && again {
		b.tellBehinds()
	}
	b.clear()
	if l.mu.retries.Len() > 0 {
		l.armTimer()
	}
	for _, j := range panics {
		l.cfg.owner.countPanic(l.failed(j), j.cause)
	}
}

// clear says that nothing is in hand.
func (b *attempts[T]) clear() {
	clear(b.items)
	clear(b.messages)
	b.items, b.messages = b.items[:0], b.messages[:0]
}

// dispose finds what the failed attempt at an item leads to, and its key if that is
// another attempt.
func (b *attempts[T]) dispose(it *attempt[T]) {
	if it.disposed != nil {
		return
	}
	l := b.lane
	if it.asking { // the Key ended the goroutine
		it.err = ErrGoexit
	}
	j := dispose(it.err)
	// Not after Goexit, which may have been the Key's.
	if j.stack != nil && l.cfg.hook != nil {
		_ = it.findKey() // a Key that panics too names nobody
		j.actor = it.key
	}
	if j.again() && it.retry == nil {
		if err := it.findKey(); err != nil {
			j = disposition{act: ActionDeadLetter, err: err, cause: err, stack: err.Stack, panicked: true, thrown: err}
		}
	}
	j.abandon = l.ctl.Load()&ctlClosing != 0 && j.act != ActionDiscard
	it.disposed = &j
}

// keepOrder has every item behind one of its key that comes again come again, too,
// and keeps the dead letters among the rest.
func (b *attempts[T]) keepOrder() {
	again := make(map[string]bool)
	for i := range b.items {
		it := &b.items[i]
		_ = it.findKey() // one that panics has no key
		switch {
		case it.key != "" && again[it.key]:
			if it.disposed == nil || !it.disposed.again() && !it.disposed.abandon && !it.kept {
				it.err = behind()
				it.disposed = nil
				b.dispose(it)
			}
		case it.disposed == nil:
		case it.disposed.again():
			again[it.key] = true
		default:
			b.keep(it)
		}
	}
}

// keep keeps an item as a dead letter, if it is one, and tells OnDeadLetter, once.
func (b *attempts[T]) keep(it *attempt[T]) {
	if it.disposed.act != ActionDeadLetter || it.disposed.abandon || it.kept {
		return
	}
	it.kept = true
	l := b.lane
	d := it.d
	d.batch = nil
	l.cfg.owner.deadLetter(l.ctx, it.cell, d, it.disposed)
}

// panics is one disposition for each panic: that of a batch's handler befell many events.
func (b *attempts[T]) panics() (distinct []*disposition) {
	var last *disposition
	for i := range b.items {
		j := b.items[i].disposed
		if j == nil || !j.panicked || last != nil && last.thrown == j.thrown {
			continue
		}
		distinct = append(distinct, j)
		last = j
	}
	return distinct
}

// failed names who panicked: the lane, or the actor of the event's key.
func (l *lane[T]) failed(j *disposition) string {
	if l.cfg.hook == nil || j.actor == "" {
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
	l.cfg.owner.failAsker(*c, err)
}

// record enters the ends of all attempts in the ledger, and defers what comes again.
func (b *attempts[T]) record(now time.Time) {
	l := b.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foldLocked()
	for i := 0; i < len(b.items); i++ {
		it := &b.items[i]
		if g := it.retry; g != nil {
			n := i
			for n < len(b.items) && b.items[n].retry == g {
				n++
			}
			b.returnLocked(g, b.items[i:n], now)
			i = n - 1
			continue
		}
		if !l.countLocked(it.disposed, &it.number) {
			continue
		}
		it.blocked = false
		// Only an item before this one can have deferred its key.
		if !l.mu.retries.Behind(it.key, it.deferred()) {
			l.mu.retries.Defer(it.key, it.deferred(), now.Add(it.disposed.after))
		}
	}
	l.mu.inHand, l.mu.disposing = 0, false
}

// returnLocked accounts for the items of one deferred key: from the first that comes
// again on they wait in front of what is behind that key.
func (b *attempts[T]) returnLocked(g *retryqueue.Key[cell[T]], items []attempt[T], now time.Time) {
	l := b.lane
	var due time.Time
	var again []retryqueue.Item[cell[T]]
	for i := range items {
		it := &items[i]
		if !l.countLocked(it.disposed, &it.number) {
			continue
		}
		if again == nil {
			due = now.Add(it.disposed.after)
		}
		again = append(again, it.deferred())
	}
	l.mu.retries.Return(g, due, again...)
}

// countLocked enters the end of an attempt in the ledger, a success where j is nil, and
// reports whether there is another attempt, whose number is in *attempt then. The
// lane's lock is held.
func (l *lane[T]) countLocked(j *disposition, attempt *int) (again bool) {
	if j == nil {
		l.mu.handled++
		return false
	}
	switch {
	case j.fenced:
		l.attempts.log.fenced++
		return false
	case j.returned:
		l.attempts.log.returned++
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
		*attempt = j.nextAttempt(*attempt)
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
