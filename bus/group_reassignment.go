package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/keyshare"
	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// LaneCount implements keyshare.Member. The fan-out's lock is held, here and below.
func (s *subscription[T]) LaneCount() int { return len(s.lanes) }

// Lane implements keyshare.Member.
func (s *subscription[T]) Lane(i int) keyshare.Lane {
	if l := s.lanes[i]; l != nil {
		return l
	}
	return nil
}

// Entered implements keyshare.Lane.
func (l *lane[T]) Entered() uint64 {
	return l.box.Entered()
}

// Done implements keyshare.Lane.
func (l *lane[T]) Done(n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return l.stoppedLocked()
	}
	return l.pastLocked(n) && l.mu.retries.Keys() == 0
}

// DoneWith implements keyshare.Lane.
func (l *lane[T]) DoneWith(key string, n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return l.stoppedLocked()
	}
	if !l.pastLocked(n) {
		return false
	}
	first, ok := l.mu.retries.First(key)
	return !ok || first > n // what came later may itself await whoever asks
}

// stoppedLocked reports whether no handler runs in a lane that abandoned what waited.
func (l *lane[T]) stoppedLocked() bool {
	_, running := l.cursorLocked()
	return !running && !l.mu.retrying && l.mu.inHand == 0
}

// pastLocked reports whether of the first n events that entered the lane none waits in its mailbox or
// runs out of it.
func (l *lane[T]) pastLocked(n uint64) bool {
	if l.mu.inHand > 0 && l.mu.firstInHand <= n {
		return false
	}
	return l.box.Past(n)
}

// mustWait tells whether another member of the group has not done with key, as far
// as that matters to the n-th event that entered this lane.
func (l *lane[T]) mustWait(key string, n uint64) bool {
	g := l.sub.group
	if g == nil || !g.keys.Moving() {
		return false
	}
	fan := &l.sub.topic.fanout
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return g.keys.MustWait(l.sub, l, key, keyHash(key), n)
}

// Bounds of the time after which a key that awaits another member is looked at
// again. A reassignment is rare, and mostly as short as a mailbox: asking again is
// simpler than to be told by lanes that would have to look for whom to tell.
const (
	firstRecheck = time.Millisecond
	lastRecheck  = 64 * time.Millisecond
)

// keyBlocked is what the lane of a deferred key that awaits another member does when it
// is due: it waits on, a longer time than before, or is free to run.
func (l *lane[T]) keyBlocked(g *retryqueue.Key[cell[T]]) bool {
	it := g.First
	if it.Recheck == 0 {
		return false
	}
	if !l.mustWait(g.Name, it.N) {
		g.First.Recheck = 0
		return false
	}
	it.Recheck = min(2*it.Recheck, lastRecheck)
	due := time.Now().Add(it.Recheck)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.retrying = false
	l.mu.retries.Return(g, due, it)
	return true
}

// deferBlockedLocked defers an event, the n-th to arrive, whose key awaits another member.
func (l *lane[T]) deferBlockedLocked(key string, c *cell[T], n uint64, now time.Time) {
	it := retryqueue.Item[cell[T]]{Event: *c, N: n, Attempt: 1, Recheck: firstRecheck}
	l.mu.retries.Defer(key, it, now.Add(firstRecheck))
}
