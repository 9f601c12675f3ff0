package bus

import (
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/mailbox"
	"github.com/shardbus/shardbus/transport"
)

// This file is the abrupt end of a subscription: what waits is abandoned at once, in the
// ledger and for who asked, whatever its handlers do meanwhile. What runs goes on running,
// in the ledger too, until it returns.

// closeLanes abandons what waits in every lane, all at one moment, and has the lanes end.
// It is called once, after s left the intake: no lane is made any more, and nothing enters.
func (s *subscription[T]) closeLanes() {
	in := &s.topic.intake
	in.mu.Lock()
	var lanes []*lane[T]
	for _, l := range s.lanes {
		if l != nil {
			lanes = append(lanes, l)
		}
	}
	s.open.Store(int32(len(lanes))) // before a running lane can see that it shall close
	s.ctl.Or(ctlClosing)
	for _, l := range lanes {
		l.cutLocked()
	}
	in.mu.Unlock()
	if len(lanes) == 0 {
		s.ended()
		return
	}
	for _, l := range lanes {
		l.poke()
	}
	s.bus.settled.notify()
}

// cutLocked abandons what waits in l. The intake's lock is held; ctlClosing is set, so that
// the lane's goroutine takes nothing any more, or knows that it took too late. A log is
// the goroutine's to take from: so it is only marked from where on nothing counts.
func (l *lane[T]) cutLocked() {
	s := l.sub
	forsake := func(c *cell[T]) { s.forsake(*c, ErrClosed) }
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.inbox.Len()
	l.emptyInboxLocked(&l.inbox, &l.overflow)
	if s.inbox != nil {
		n += s.inbox.envelopes.Len()
		l.emptyInboxLocked(&s.inbox.envelopes, &s.inbox.overflow)
	}
	if l.lossy {
		var c cell[T]
		for l.mu.box.pop(&c) {
			l.mu.box.evicted++
			n++
			forsake(&c)
		}
	} else {
		l.mu.cutAt, _ = l.reader.Cursor()
		n += int(l.reader.End() - l.mu.cutAt)
		if s.asked {
			l.reader.EachFrom(l.mu.cutAt, forsake)
		}
	}
	if s.asked {
		l.mu.parking.each(forsake)
	}
	l.mu.cut = true // what is parked counts as abandoned from now on
	l.mu.abandoned += uint64(n)
}

// emptyInboxLocked empties an inbox, all the envelopes of which are counted.
func (l *lane[T]) emptyInboxLocked(inbox *mailbox.Ring[*transport.Envelope], overflow *atomic.Int64) {
	var env *transport.Envelope
	for pop(inbox, overflow, &env) {
		l.sub.inbox.bytes -= env.Size()
	}
}

// abandonTaken is called by the lane's goroutine when it has taken c out of a log and finds
// that the subscription closes. Each side writes before it reads, the goroutine its
// position and then the control word, cutLocked the other way round: so either cutLocked
// saw that c was taken, and c has run until now, or c is among what it abandoned.
func (l *lane[T]) abandonTaken(c *cell[T]) {
	l.mu.Lock()
	if !l.mu.cut || l.reader.Position() <= l.mu.cutAt {
		l.foldLocked()
		l.mu.abandoned++
	}
	l.mu.Unlock()
	l.sub.forsake(*c, ErrClosed)
}

// letGo lets go of what waited in l. The lane calls it, as the consumer of its mailbox.
func (l *lane[T]) letGo() {
	in := &l.sub.topic.intake
	in.mu.Lock() // cutLocked is over
	defer in.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.foldLocked()
	// Some may have been parked after cutLocked.
	l.mu.abandoned += uint64(l.mu.parking.clear(func(c *cell[T]) { l.sub.forsake(*c, ErrClosed) }))
	l.mu.box.running = false
	if !l.lossy {
		for c := l.reader.Next(); c != nil; c = l.reader.Next() {
			continue
		}
		l.reader.Rest()
	}
	l.mu.base, _ = l.cursorLocked()
}
