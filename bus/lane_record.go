package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

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
