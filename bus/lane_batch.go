package bus

import (
	"math"
	"time"
)

// This file is how the events of a batch are taken: they wait for each other in the mailbox, and
// are taken all at once. From then on they count as running until all are settled together.

// full tells whether a whole batch waits, or all that can. For any goroutine.
func (b *attempts[T]) full() bool {
	l := b.lane
	return l.overflowing() || l.box.Waiting() >= l.cfg.opts.batchSize
}

// mustLinger tells whether what waits is to wait for more, and sees to it that the
// lane looks again in time.
func (b *attempts[T]) mustLinger() bool {
	l, s := b.lane, b.lane.cfg
	if s.opts.linger == 0 || b.full() || s.ctl.Load()&ctlLeft != 0 || s.core.state.Load() != stateOpen || l.box.Waiting() == 0 {
		return false
	}
	now := time.Now()
	if b.until.IsZero() {
		b.until = now.Add(s.opts.linger)
	}
	wait := b.until.Sub(now)
	if wait <= 0 {
		return false
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, l.signal)
	} else {
		b.timer.Reset(wait)
	}
	return true
}

// take takes up to n events out of the mailbox, and reports whether there were any.
func (b *attempts[T]) take(n int) bool {
	l := b.lane
	l.high.saw(l.box.Waiting())
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return false
	}
	first := uint64(0) // as long as none has entered the mailbox
	for len(b.items) < n {
		c := l.box.Next()
		if c == nil {
			break
		}
		b.items = append(b.items, attempt[T]{held: *c, n: l.box.Number(), number: 1})
		first = b.items[0].n
	}
	l.box.Idle()
	l.mu.base, _ = l.cursorLocked()
	l.mu.inHand, l.mu.firstInHand = len(b.items), first
	l.startsLocked()
	l.mu.Unlock()
	if len(b.items) == 0 {
		return false
	}
	if l.box.Position() >= l.wait.wakeAt.Load() {
		l.wakeWaiters()
	}
	b.until = time.Time{}
	if linger := l.cfg.opts.linger; linger > 0 && l.box.Waiting() > 0 {
		b.until = time.Now().Add(linger) // the next batch has begun
	}
	if l.mayDefer() || l.durable && l.attempts.log.attend.Load() {
		b.open()
		b.deferBlocked()
	}
	return true
}

// noneInHand stands for the number of an event that came out of the retry queue.
const noneInHand = math.MaxUint64
