package bus

import (
	"math/bits"
	"time"
)

// reassignment is slots of a group that have another owner now, and what the old one
// still had then: its lanes, each with the number of the last event that had entered
// it. Who owns a slot now starts no event of a key in it before the old owner has
// done with that key. There is no circle of such waits: each is for what entered
// before it, also where a key comes back to a member before it is done elsewhere.
type reassignment[T any] struct {
	from   *subscription[T]
	slots  [groupSlots]bool // immutable once others see it
	filled []uint64         // by lane of from: how many events had entered it
	epoch  int              // which change of members it belongs to
	// before is how many events had entered the lanes of the members, old and new:
	// those don't await it.
	before map[*lane[T]]uint64
}

// newReassignment is called with the fan-out locked.
func newReassignment[T any](from *subscription[T]) *reassignment[T] {
	h := &reassignment[T]{from: from, filled: make([]uint64, len(from.lanes))}
	for i, l := range from.lanes {
		if l != nil {
			h.filled[i] = l.entered()
		}
	}
	return h
}

// entered is how many events ever entered the mailbox, in the order in which they
// leave it. The fan-out's lock is held.
func (l *lane[T]) entered() uint64 {
	if !l.evicting {
		return l.reader.End()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.box.removed() + uint64(l.mu.box.len())
}

// over tells whether the old owner has done with all it had. The fan-out's lock is
// held.
func (h *reassignment[T]) over() bool {
	for i, l := range h.from.lanes {
		if l != nil && h.filled[i] > 0 && !l.doneWith(h.filled[i], nil) {
			return false
		}
	}
	return true
}

// doneWith tells whether of the first mark events that entered the lane none waits
// or runs, and none of that key is deferred; with a nil key none of any.
func (l *lane[T]) doneWith(mark uint64, key *string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed { // what waited is abandoned
		_, running := l.cursorLocked()
		return !running && !l.mu.retrying && l.mu.inHand == 0
	}
	if l.evicting {
		box := &l.mu.box
		if box.removed() < mark || box.running && box.lastTaken <= mark {
			return false
		}
	} else if taken, running := l.reader.Cursor(); taken < mark || taken == mark && running {
		return false
	}
	if l.mu.inHand > 0 && l.mu.firstInHand <= mark {
		return false
	}
	if key == nil {
		return len(l.mu.retries.byKey) == 0
	}
	g := l.mu.retries.find(*key)
	return g == nil || g.n > mark // what came later may itself await whoever asks
}

// mustWait tells whether another member of the group has not done with key, as far
// as that matters to the n-th event that entered this lane.
func (l *lane[T]) mustWait(key string, n uint64) bool {
	g := l.sub.group
	if g == nil || g.pendingMoves.Load() == 0 || key == "" {
		return false
	}
	hash := keyHash(key)
	fan := &l.sub.topic.fanout
	fan.mu.Lock()
	defer fan.mu.Unlock()
	g.forgetOver()
	for _, h := range g.reassignments {
		if h.from == l.sub || !h.slots[slotOf(hash)] || n <= h.before[l] || l.sub.leftGroup != 0 && h.epoch >= l.sub.leftGroup {
			continue // it came after the event
		}
		i := h.from.laneOf(hash)
		if old := h.from.lanes[i]; old != nil && !old.doneWith(h.filled[i], &key) {
			return true
		}
	}
	return false
}

// laneOf is the number of the lane for a key hash other than 0.
func (s *subscription[T]) laneOf(hash uint64) int {
	i, _ := bits.Mul64(hash, uint64(len(s.lanes))) // by its highest bits
	return int(i)
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
func (l *lane[T]) keyBlocked(g *retryKey[T]) bool {
	if g.recheck == 0 {
		return false
	}
	if !l.mustWait(g.key, g.n) {
		g.recheck = 0
		return false
	}
	g.recheck = min(2*g.recheck, lastRecheck)
	due := time.Now().Add(g.recheck)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.retrying = false
	l.mu.retries.again(g, &g.first, g.attempt, due)
	return true
}

// deferBlockedLocked defers an event, the n-th to arrive, whose key awaits another member.
func (l *lane[T]) deferBlockedLocked(key string, c *cell[T], n uint64, now time.Time) {
	l.mu.retries.deferEvent(key, c, n, 1, now.Add(firstRecheck))
	l.mu.retries.find(key).recheck = firstRecheck
}
