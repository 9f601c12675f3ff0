package bus

import (
	"runtime/debug"
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// key is the key of the current delivery. The Key function is the user's: its
// panic is returned.
func (l *lane[T]) key() (key string, err *PanicError) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return l.d.Key(), nil
}

// deferBehind has c, just taken, wait behind its key if that is deferred, or if
// another member of the group has not done with it.
func (l *lane[T]) deferBehind(c *cell[T]) bool {
	if l.mu.retries.Len() == 0 && !l.sub.group.keys.Moving() {
		return false
	}
	l.current = c
	l.view(c, 1)
	key, err := l.key()
	if err != nil {
		return false // the handler's attempt will meet it in its turn
	}
	n := l.box.Number()
	blocked := l.mustWait(key, n)
	l.lockRetries()
	deferred := l.deferIfKeyWaitsLocked(key, c, n, blocked)
	if !deferred && blocked {
		l.deferBlockedLocked(key, c, n, time.Now())
		deferred = true
	}
	if deferred {
		l.foldLocked()
		l.current = nil
	}
	l.unlockRetries()
	if blocked {
		l.armTimer()
	}
	return deferred
}

// lockRetries takes the lane's lock, and with KeepLatest the fan-out's before it,
// since what falls in may give up another event.
func (l *lane[T]) lockRetries() {
	if l.box.Replacing() {
		l.sub.topic.fanout.mu.Lock()
	}
	l.mu.Lock()
}

// unlockRetries undoes lockRetries.
func (l *lane[T]) unlockRetries() {
	l.mu.Unlock()
	if l.box.Replacing() {
		l.sub.topic.fanout.mu.Unlock()
	}
}

// deferIfKeyWaitsLocked has c wait behind its key if that is deferred. With KeepLatest an
// event that waits there gives way to c, as in the mailbox: else a key that waits
// long would fill the retry queue with what is stale. n is c's number in order of
// arrival, and blocked says that it awaits another member of the group.
func (l *lane[T]) deferIfKeyWaitsLocked(key string, c *cell[T], n uint64, blocked bool) (deferred bool) {
	it := retryqueue.Item[cell[T]]{Event: *c, N: n, Attempt: 1}
	if blocked {
		it.Recheck = firstRecheck
	}
	if l.box.Replacing() {
		if old, replaced := l.mu.retries.Replace(key, it); replaced {
			l.countReplaced()
			l.sub.failAsker(old, ErrMailboxFull)
			return true
		}
	}
	return l.mu.retries.Behind(key, it)
}

// runRetry runs the deferred event that is due first, and reports whether there
// was one.
func (l *lane[T]) runRetry() bool {
	l.due.Store(false) // before looking: what fires from here on is seen again
	l.rest()
	now := time.Now()
	l.mu.Lock()
	var g *retryqueue.Key[cell[T]]
	if !l.mu.closed {
		g = l.mu.retries.Pop(now)
	}
	l.mu.retrying, l.mu.retry = g != nil, g
	l.startsLocked()
	l.mu.Unlock()
	if g == nil {
		l.armTimer()
		return l.due.Load() // it may just have become due
	}
	l.due.Store(true) // there may be more
	if l.keyBlocked(g) {
		return true
	}
	l.current, l.group = &g.First.Event, g
	l.view(&g.First.Event, g.First.Attempt)
	if err := l.handler(l.ctx, &l.d); err != nil {
		l.finishFailed(err)
		return true
	}
	l.current, l.group = nil, nil
	l.mu.Lock()
	l.mu.retrying, l.mu.retry = false, nil
	l.mu.handled++
	l.mu.retries.Return(g, time.Time{})
	l.mu.Unlock()
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
