package bus

import (
	"errors"
	"math"
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// batchRun is the batch that a lane of a SubscribeBatch has in hand, or is about to take.
// Events wait for it in the mailbox, and are taken all at once; from then on they
// count as running until all are settled together. Only the lane's goroutine uses
// it, but for full.
type batchRun[T any] struct {
	lane     *lane[T]
	items    []batchItem[T]
	messages []Message[T] // of the items that entered
	handled  bool         // the handler was called

	until time.Time // when lingering ends; zero while it has not begun
	timer *time.Timer
}

// batchItem is one event of a batch.
type batchItem[T any] struct {
	cell     cell[T]
	d        Delivery
	n        uint64 // its number in order of arrival at the lane
	attempt  int
	group    *retryqueue.Key[cell[T]] // that it came from, when it was deferred
	index    int                      // in messages, if it entered
	entered  bool
	tried    bool         // err is what became of its attempt
	result   error        // the handler's
	err      error        // its chain's
	disposed *disposition // of err, when that is known
	key      string       // when that is known
	kept     bool         // as a dead letter
}

// errNamed is the error of an event that a BatchError names without one.
var errNamed = errors.New("a BatchError names the event without an error")

// errBehind is why an event of a batch was not acknowledged with the others.
var errBehind = errors.New("an event of the same key, before it in the batch, failed")

// behind is the verdict on such an event.
func behind() error { return &Verdict{Action: ActionSnooze, Err: errBehind} }

// full tells whether a whole batch waits, or all that can. For any goroutine.
func (b *batchRun[T]) full() bool {
	l := b.lane
	return l.overflowing() || l.box.Waiting() >= l.sub.opts.batchSize
}

// handleReady is the lane's, for batches.
func (b *batchRun[T]) handleReady() batchEnd {
	l, s := b.lane, b.lane.sub
	retryTurn := true // of what is deferred and due; it alternates with what arrives
	for {
		if ctl := s.ctl.Load(); ctl&(ctlPaused|ctlHeld|ctlClosing) != 0 {
			if ctl&ctlClosing != 0 {
				return closing
			}
			return resting
		}
		deferred := l.mu.retries.Len() // only this goroutine changes it
		if deferred > 0 {
			full := deferred >= s.opts.maxDeferred
			if (retryTurn || full) && l.due.Load() && b.takeRetries() {
				b.run()
				retryTurn = false
				continue
			}
			if full {
				return resting
			}
		}
		retryTurn = true
		l.refill()
		if b.mustLinger() {
			if l.mu.retries.Len() > 0 && l.due.Load() {
				continue
			}
			return lingering
		}
		if b.take(min(s.opts.batchSize, s.opts.maxDeferred-deferred)) {
			b.run()
			continue
		}
		if l.refill() || l.mu.retries.Len() > 0 && l.due.Load() {
			continue
		}
		return ranDry
	}
}

// mustLinger tells whether what waits is to wait for more, and sees to it that the
// lane looks again in time.
func (b *batchRun[T]) mustLinger() bool {
	l, s := b.lane, b.lane.sub
	if s.opts.linger == 0 || b.full() || s.ctl.Load()&ctlLeft != 0 || s.bus.state.Load() != stateOpen || l.box.Waiting() == 0 {
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
func (b *batchRun[T]) take(n int) bool {
	l := b.lane
	l.sampleDepth()
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
		b.items = append(b.items, batchItem[T]{cell: *c, n: l.box.Number(), attempt: 1})
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
	if linger := l.sub.opts.linger; linger > 0 && l.box.Waiting() > 0 {
		b.until = time.Now().Add(linger) // the next batch has begun
	}
	if l.mu.retries.Len() > 0 || l.sub.group != nil {
		b.deferBlocked()
	}
	return true
}

// noneInHand stands for the number of an event that came out of the retry queue.
const noneInHand = math.MaxUint64

// deferBlocked has the events just taken whose key is deferred wait behind it, and those
// whose key another member of the group has not done with.
func (b *batchRun[T]) deferBlocked() {
	l := b.lane
	if l.mu.retries.Len() == 0 && !l.sub.group.keys.Moving() {
		return
	}
	b.open()
	blocked := make([]bool, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		b.findKey(it)
		blocked[i] = l.mustWait(it.key, it.n)
	}
	now := time.Now()
	l.lockRetries()
	kept := b.items[:0]
	for i := range b.items {
		it := &b.items[i]
		deferred := l.deferIfKeyWaitsLocked(it.key, &it.cell, it.n, blocked[i])
		switch {
		case deferred:
		case blocked[i]:
			l.deferBlockedLocked(it.key, &it.cell, it.n, now)
		default:
			kept = append(kept, *it)
		}
	}
	if l.mu.retries.Len() > 0 {
		defer l.armTimer()
	}
	clear(b.items[len(kept):])
	b.items = kept
	l.mu.inHand = len(kept)
	l.unlockRetries()
}

// takeRetries takes the deferred events that are due, and reports whether there were
// any. Of a key it takes the first event, and with one that was never attempted
// those of the same kind behind it: what failed before is tried again by itself,
// as far as its key goes.
func (b *batchRun[T]) takeRetries() bool {
	l := b.lane
	l.due.Store(false) // before looking: what fires from here on is seen again
	now := time.Now()
	n := l.sub.opts.batchSize
	l.mu.Lock()
	l.mu.firstInHand = noneInHand
	for len(b.items) < n && !l.mu.closed {
		g := l.mu.retries.Pop(now)
		if g == nil {
			break
		}
		if g.First.Recheck > 0 {
			l.mu.retrying = true
			l.mu.inHand = len(b.items)
			l.mu.Unlock()
			waits := l.keyBlocked(g)
			l.mu.Lock()
			if l.mu.retrying = false; waits {
				continue
			}
		}
		b.items = append(b.items, batchItem[T]{cell: g.First.Event, n: g.First.N, attempt: g.First.Attempt, group: g, key: g.Name})
		for len(b.items) < n && !l.mu.closed {
			it, ok := l.mu.retries.Follow(g)
			if !ok {
				break
			}
			b.items = append(b.items, batchItem[T]{cell: it.Event, n: it.N, attempt: 1, group: g, key: g.Name})
		}
	}
	l.mu.inHand = len(b.items)
	l.startsLocked()
	l.mu.Unlock()
	if len(b.items) == 0 {
		l.armTimer()
		return false
	}
	l.due.Store(true) // there may be more
	return true
}
