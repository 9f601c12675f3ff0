package bus

import (
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/ring"
	"github.com/shardbus/shardbus/transport"
)

// This file is the abrupt end of a subscription: what waits is abandoned at once, in the
// ledger and for who asked, whatever its handlers do meanwhile. What runs goes on running,
// in the ledger too, until it returns.

// closeLanes abandons what waits in every lane, all at one moment, and has the lanes end.
// It is called once, after s left the fan-out: no lane is made any more, and nothing enters.
func (s *subscription[T]) closeLanes() {
	fan := &s.topic.fanout
	fan.mu.Lock()
	var lanes []*lane[T]
	for _, l := range s.lanes {
		if l != nil {
			lanes = append(lanes, l)
		}
	}
	s.open.Store(int32(len(lanes))) // before a running lane can see that it shall close
	s.ctl.Or(ctlClosing)
	for _, l := range lanes {
		l.abandonLocked()
	}
	fan.mu.Unlock()
	if len(lanes) == 0 {
		s.ended()
		return
	}
	for _, l := range lanes {
		l.signal()
	}
	s.bus.changes.Notify()
}

// abandonLocked abandons what waits in l. The fan-out's lock is held; ctlClosing is set, so that
// the lane's goroutine takes nothing any more, or knows that it took too late. A log is
// the goroutine's to take from: so it is only marked from where on nothing counts.
func (l *lane[T]) abandonLocked() {
	s := l.sub
	var failAsker func(c *cell[T])
	if s.asked {
		failAsker = func(c *cell[T]) { s.failAsker(*c, ErrClosed) }
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.inbox.Len()
	l.emptyInboxLocked(&l.inbox, &l.overflow)
	if s.inbox != nil {
		n += s.inbox.envelopes.Len()
		l.emptyInboxLocked(&s.inbox.envelopes, &s.inbox.overflow)
	}
	var waiting int
	l.mu.closedAt, waiting = l.box.Abandon(failAsker)
	n += waiting
	if s.asked {
		l.mu.retries.Each(failAsker)
	}
	l.mu.closed = true // what is deferred counts as abandoned from now on
	l.mu.abandoned += uint64(n)
}

// emptyInboxLocked empties an inbox, all the envelopes of which are counted.
func (l *lane[T]) emptyInboxLocked(inbox *ring.Ring[*transport.Envelope], overflow *atomic.Int64) {
	var env *transport.Envelope
	for pop(inbox, overflow, &env) {
		l.sub.inbox.bytes -= env.Size()
	}
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
	l.sub.failAsker(*c, ErrClosed)
}

// releaseAll lets go of what waited in l. The lane calls it, as the consumer of its mailbox.
func (l *lane[T]) releaseAll() {
	fan := &l.sub.topic.fanout
	fan.mu.Lock() // abandonLocked is over
	defer fan.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foldLocked()
	// Some may have been deferred after abandonLocked.
	l.mu.abandoned += uint64(l.mu.retries.Clear(func(c *cell[T]) { l.sub.failAsker(*c, ErrClosed) }))
	for c := l.box.Next(); c != nil; c = l.box.Next() {
		continue
	}
	l.box.Idle()
	l.mu.base, _ = l.cursorLocked()
}
