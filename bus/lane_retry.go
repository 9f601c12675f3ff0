package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// Bounds of the time after which a key that awaits another member is looked at
// again. A reassignment is rare, and mostly as short as a mailbox: asking again is
// simpler than to be told by lanes that would have to look for whom to tell.
const (
	firstRecheck = time.Millisecond
	lastRecheck  = 64 * time.Millisecond
)

// mayDefer tells whether an event just taken may have to wait behind its key: because that is
// deferred, or because another member of the group, or one whose place was taken, has not done with
// it.
func (l *lane[T]) mayDefer() bool {
	return l.mu.retries.Len() > 0 || l.cfg.keys != nil && l.cfg.keys.Moving()
}

// deferTaken has c, just taken, wait behind its key if it must.
func (l *lane[T]) deferTaken(c *cell[T]) bool {
	l.current = nil
	if !c.bare() {
		l.viewEnvelope()
	}
	b := l.hand()
	b.items = append(b.items, attempt[T]{cell: c, n: l.box.Number(), number: 1})
	b.open()
	b.deferBlocked()
	if len(b.items) == 0 {
		return true
	}
	b.clear()
	return false
}

// deferBlocked has the events just taken whose key is deferred wait behind it, and those whose key
// another member of the group has not done with.
func (b *attempts[T]) deferBlocked() {
	l := b.lane
	wait := false
	for i := range b.items {
		it := &b.items[i]
		if it.findKey() != nil {
			continue // it will panic in the attempt, too
		}
		if l.durable && eventOf(it.cell).Over() {
			continue // it goes back
		}
		// What is given back by now is there to be adopted if another one has done with the key.
		it.blocked = l.cfg.owner.mustWait(l, it.key, it.n, 0) || l.durable && it.key != "" && l.attempts.log.attend.Load()
		_, behind := l.mu.retries.First(it.key) // only this goroutine changes that
		wait = wait || it.blocked || behind
	}
	if !wait {
		return
	}
	now := time.Now()
	l.lockRetries()
	kept, blocked := b.items[:0], false
	for i := range b.items {
		it := &b.items[i]
		switch {
		case l.durable:
			waits, first := l.deferDurableLocked(it, now)
			if blocked = blocked || first; !waits {
				kept = append(kept, *it)
			}
		case l.deferIfKeyWaitsLocked(it):
		case it.blocked:
			blocked = true
			l.mu.retries.Defer(it.key, it.deferred(), now.Add(firstRecheck))
		default:
			kept = append(kept, *it)
		}
	}
	clear(b.items[len(kept):])
	b.items = kept
	if l.takes {
		l.mu.inHand = len(kept)
	} else if len(kept) == 0 {
		l.foldLocked()
	}
	l.unlockRetries()
	if blocked {
		l.armTimer()
	}
}

// deferred is the event as it waits for its next attempt.
func (it *attempt[T]) deferred() retryqueue.Item[cell[T]] {
	item := retryqueue.Item[cell[T]]{Event: *it.cell, N: it.n, Attempt: it.number}
	if it.blocked {
		item.Recheck = firstRecheck
	}
	return item
}

// lockRetries takes the lane's lock, and with KeepLatest the fan-out's before it,
// since what falls in may give up another event.
func (l *lane[T]) lockRetries() {
	if l.box.Replacing() {
		l.cfg.owner.lockMailboxes()
	}
	l.mu.Lock()
}

// unlockRetries undoes lockRetries.
func (l *lane[T]) unlockRetries() {
	l.mu.Unlock()
	if l.box.Replacing() {
		l.cfg.owner.unlockMailboxes()
	}
}

// deferIfKeyWaitsLocked has an event wait behind its key if that is deferred. With KeepLatest
// an event that waits there gives way to it, as in the mailbox: else a key that waits long
// would fill the retry queue with what is stale.
func (l *lane[T]) deferIfKeyWaitsLocked(it *attempt[T]) bool {
	if l.box.Replacing() {
		if old, replaced := l.mu.retries.Replace(it.key, it.deferred()); replaced {
			l.countReplaced()
			l.cfg.owner.failAsker(old, ErrMailboxFull)
			return true
		}
	}
	return l.mu.retries.Behind(it.key, it.deferred())
}

// takeRetries takes the deferred events that are due, and reports whether there were
// any, or may be by now. Of a key it takes the first event, and with one that was never
// attempted those of the same kind behind it: what failed before is tried again by itself,
// as far as its key goes.
func (b *attempts[T]) takeRetries(n int) bool {
	l := b.lane
	l.due.Store(false) // before looking: what fires from here on is seen again
	l.rest()
	now := time.Now()
	l.mu.Lock()
	l.mu.firstInHand = noneInHand
	for len(b.items) < n && !l.mu.closed {
		g := l.mu.retries.Pop(now)
		if g == nil {
			break
		}
		b.addRetry(g, g.First)
		if g.First.Recheck > 0 && b.keyBlockedLocked(g) {
			continue
		}
		for len(b.items) < n && !l.mu.closed {
			it, ok := l.mu.retries.Follow(g)
			if !ok {
				break
			}
			b.addRetry(g, it)
		}
	}
	l.mu.inHand = len(b.items)
	l.startsLocked()
	l.mu.Unlock()
	if len(b.items) == 0 {
		l.armTimer()
		return l.due.Load() // it may just have become due
	}
	l.due.Store(true) // there may be more
	return true
}

func (b *attempts[T]) addRetry(g *retryqueue.Key[cell[T]], it retryqueue.Item[cell[T]]) {
	b.items = append(b.items, attempt[T]{held: it.Event, n: it.N, number: it.Attempt, retry: g, key: g.Name})
}

// keyBlockedLocked tells whether the key taken last, which awaits another member, waits on. It does
// for a longer time than before. The lane's lock is released meanwhile.
func (b *attempts[T]) keyBlockedLocked(g *retryqueue.Key[cell[T]]) bool {
	l := b.lane
	last := len(b.items) - 1
	l.mu.inHand = last + 1
	l.mu.Unlock()
	blocked := l.cfg.owner.mustWait(l, g.Name, g.First.N, g.First.Epoch) || l.durable && l.attempts.log.attend.Load()
	l.mu.Lock()
	if !blocked {
		g.First.Recheck = 0
		return false
	}
	b.items[last] = attempt[T]{}
	b.items = b.items[:last]
	l.mu.inHand = last
	it := g.First
	it.Recheck = min(2*it.Recheck, lastRecheck)
	l.mu.retries.Return(g, time.Now().Add(it.Recheck), it)
	return true
}

// armTimer has the lane signaled when the next deferred key is due.
func (l *lane[T]) armTimer() {
	due, ok := l.mu.retries.NextDue()
	if !ok {
		return
	}
	wait := time.Until(due)
	switch {
	case wait <= 0:
		l.due.Store(true)
	case l.timer == nil:
		l.timer = time.AfterFunc(wait, func() {
			l.due.Store(true)
			l.signal()
		})
	default:
		l.timer.Reset(wait)
	}
}
