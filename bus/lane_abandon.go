package bus

import "github.com/shardbus/shardbus/bus/internal/consumer"

// This file is the abrupt end of a subscription: what waits is abandoned at once, in the
// ledger and for who asked, whatever its handlers do meanwhile. What runs goes on running,
// in the ledger too, until it returns.

// abandonLocked abandons what waits in l. The fan-out's lock is held; ctlClosing is set, so that
// the lane's goroutine takes nothing any more, or knows that it took too late. A log is
// the goroutine's to take from: so it is only marked from where on nothing counts.
func (l *lane[T]) abandonLocked(back *[]*consumer.Event) {
	s := l.cfg
	var failAsker func(c *cell[T])
	if l.durable {
		failAsker = func(c *cell[T]) { *back = append(*back, eventOf(c)) }
	}
	if s.asked {
		failAsker = func(c *cell[T]) { s.owner.failAsker(*c, ErrClosed) }
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.inbox.Len()
	l.emptyInboxLocked(&l.inbox, &l.overflow, back)
	if s.inbox != nil {
		n += s.inbox.envelopes.Len()
		l.emptyInboxLocked(&s.inbox.envelopes, &s.inbox.overflow, back)
	}
	var waiting int
	l.mu.closedAt, waiting = l.box.Abandon(failAsker)
	n += waiting
	if s.asked {
		l.mu.retries.Each(failAsker)
	}
	l.mu.closed = true // what is deferred counts as abandoned from now on
	if !l.durable {
		l.mu.abandoned += uint64(n)
		return
	}
	g := l.attempts.log
	for _, a := range g.adopted {
		*back = append(*back, a.e)
	}
	g.returned += uint64(n + len(g.adopted))
	g.adopted = nil
	g.givingBack += len(*back)
}

// abandonTaken is called by the lane's goroutine when it has taken c out of its mailbox and finds
// that the subscription closes. Each side writes before it reads, the goroutine its
// position and then the control word, abandonLocked the other way round: so either abandonLocked
// saw that c was taken, and c has run until now, or c is among what it abandoned.
func (l *lane[T]) abandonTaken(c *cell[T]) {
	l.mu.Lock()
	if !l.mu.closed || l.box.Position() <= l.mu.closedAt {
		l.foldLocked()
		l.mu.abandoned++
	}
	l.mu.Unlock()
	l.cfg.owner.failAsker(*c, ErrClosed)
}

// releaseAll lets go of what waited in l. The lane calls it, as the consumer of its mailbox.
func (l *lane[T]) releaseAll() {
	var back []*consumer.Event
	if l.durable {
		defer func() { // without the locks
			l.giveBack(back)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.attempts.log.released = true
		}()
	}
	l.cfg.owner.lockMailboxes() // abandonLocked is over
	defer l.cfg.owner.unlockMailboxes()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foldLocked()
	// Some may have been deferred after abandonLocked.
	if l.durable {
		l.attempts.log.returned += uint64(l.mu.retries.Clear(func(c *cell[T]) { back = append(back, eventOf(c)) }))
		l.attempts.log.givingBack += len(back)
	}
	l.mu.abandoned += uint64(l.mu.retries.Clear(func(c *cell[T]) { l.cfg.owner.failAsker(*c, ErrClosed) }))
	for c := l.box.Next(); c != nil; c = l.box.Next() {
		continue
	}
	l.box.Idle()
	l.mu.base, _ = l.cursorLocked()
}
