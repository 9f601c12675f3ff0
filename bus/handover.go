package bus

import (
	"math/bits"
	"time"
)

// handover is slots of a group that have another owner now, and what the old one
// still had then: its lanes, each with the number of the last event that had entered
// it. Who owns a slot now starts no event of a key in it before the old owner has
// done with that key. There is no circle of such waits: each is for what entered
// before it, also where a key comes back to a member before it is done elsewhere.
type handover[T any] struct {
	from  *subscription[T]
	slots [groupSlots]bool // immutable once others see it
	marks []uint64         // by lane of from: how many events had entered it
	epoch int              // which change of members it belongs to
	// before is how many events had entered the lanes of the members, old and new:
	// those don't await it.
	before map[*lane[T]]uint64
}

// newHandover is called with the intake locked.
func newHandover[T any](from *subscription[T]) *handover[T] {
	h := &handover[T]{from: from, marks: make([]uint64, len(from.lanes))}
	for i, l := range from.lanes {
		if l != nil {
			h.marks[i] = l.entered()
		}
	}
	return h
}

// entered is how many events ever entered the mailbox, in the order in which they
// leave it. The intake's lock is held.
func (l *lane[T]) entered() uint64 {
	if !l.lossy {
		return l.reader.End()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.box.gone() + uint64(l.mu.box.len())
}

// over tells whether the old owner has done with all it had. The intake's lock is
// held.
func (h *handover[T]) over() bool {
	for i, l := range h.from.lanes {
		if l != nil && h.marks[i] > 0 && !l.doneWith(h.marks[i], nil) {
			return false
		}
	}
	return true
}

// doneWith tells whether of the first mark events that entered the lane none waits
// or runs, and none of that key is parked; with a nil key none of any.
func (l *lane[T]) doneWith(mark uint64, key *string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.cut { // what waited is abandoned
		_, running := l.cursorLocked()
		return !running && !l.mu.retrying && l.mu.inHand == 0
	}
	if l.lossy {
		box := &l.mu.box
		if box.gone() < mark || box.running && box.ran <= mark {
			return false
		}
	} else if taken, running := l.reader.Cursor(); taken < mark || taken == mark && running {
		return false
	}
	if l.mu.inHand > 0 && l.mu.firstInHand <= mark {
		return false
	}
	if key == nil {
		return len(l.mu.parking.byKey) == 0
	}
	g := l.mu.parking.find(*key)
	return g == nil || g.n > mark // what came later may itself await whoever asks
}

// mustAwait tells whether another member of the group has not done with key, as far
// as that matters to the n-th event that entered this lane.
func (l *lane[T]) mustAwait(key string, n uint64) bool {
	g := l.sub.group
	if g == nil || g.moves.Load() == 0 || key == "" {
		return false
	}
	hash := keyHash(key)
	in := &l.sub.topic.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	g.forgetOver()
	for _, h := range g.handovers {
		if h.from == l.sub || !h.slots[slotOf(hash)] || n <= h.before[l] || l.sub.leftGroup != 0 && h.epoch >= l.sub.leftGroup {
			continue // it came after the event
		}
		i := h.from.laneOf(hash)
		if old := h.from.lanes[i]; old != nil && !old.doneWith(h.marks[i], &key) {
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
// again. A handover is rare, and mostly as short as a mailbox: asking again is
// simpler than to be told by lanes that would have to look for whom to tell.
const (
	firstAwait = time.Millisecond
	lastAwait  = 64 * time.Millisecond
)

// awaiting is what the lane of a parked key that awaits another member does when it
// is due: it waits on, a longer time than before, or is free to run.
func (l *lane[T]) awaiting(g *parkedKey[T]) bool {
	if g.await == 0 {
		return false
	}
	if !l.mustAwait(g.key, g.n) {
		g.await = 0
		return false
	}
	g.await = min(2*g.await, lastAwait)
	due := time.Now().Add(g.await)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.retrying = false
	l.mu.parking.again(g, &g.first, g.attempt, due)
	return true
}

// awaitLocked parks an event, the n-th to arrive, whose key awaits another member.
func (l *lane[T]) awaitLocked(key string, c *cell[T], n uint64, now time.Time) {
	l.mu.parking.park(key, c, n, 1, now.Add(firstAwait))
	l.mu.parking.find(key).await = firstAwait
}
