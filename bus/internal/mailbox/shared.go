package mailbox

import "sync/atomic"

// firstCells is the size of a new mailbox: most of ten thousand topics never see a
// burst.
const firstCells = 8

// cacheLine is the size of a cache line, or more.
const cacheLine = 64

// Shared is the writer's half of a queue. Its methods must be serialised by the
// caller, and so must the methods of a Reader that say so.
//
// An item's position is how many were put before it. Memory is a circular
// segment; when it is full of items that some reader still needs, a larger one
// follows it, and readers pass from one to the other at the position where it
// begins. So nothing that a reader looks at ever moves. The mailbox has no bound of
// its own: Append may be called while Free is true, and Grow says how far readers
// let it go on.
type Shared[C any] struct {
	cells    []C // of back
	at       int // the cell of the next item
	appended uint64
	until    uint64 // Append may go on to here
	back     *segment[C]
	_        [cacheLine - 56]byte

	// Read by readers whenever they have run out of items, and so not beside
	// what every Append reads and writes.
	tail atomic.Uint64 // items committed
	// soleFrom is the position from which on the mailbox has one reader only,
	// which clears the cells it has done with.
	soleFrom atomic.Uint64
	// newest is back.base: a reader that is there need not look for what follows
	// its segment. It is set before an item beyond it is committed.
	newest atomic.Uint64
	_      [cacheLine - 24]byte
}

// segment is a circular stretch of a mailbox's memory.
type segment[C any] struct {
	cells []C
	base  uint64 // position of its first item
	// next follows from position next.base on. It is set before an item beyond
	// that is committed, so whoever has seen such an item finds it.
	next atomic.Pointer[segment[C]]
}

// noPosition is no position.
const noPosition = ^uint64(0)

// NewShared makes a mailbox whose first item has the position base.
func NewShared[C any](base uint64) *Shared[C] {
	l := &Shared[C]{appended: base}
	l.follow(firstCells)
	l.until = base // so that Grow is asked
	l.tail.Store(base)
	return l
}

// follow moves the writer to a new segment.
func (l *Shared[C]) follow(size int) {
	s := &segment[C]{cells: make([]C, size), base: l.appended}
	if l.back != nil {
		l.back.next.Store(s)
	}
	l.back, l.cells, l.at = s, s.cells, 0
	l.newest.Store(s.base)
}

// Free tells whether an item may be Append. When not, Grow may change that.
func (l *Shared[C]) Free() bool { return l.appended < l.until }

// Room is how many items may be Append before Grow is to be asked again.
func (l *Shared[C]) Room() int { return int(l.until - l.appended) }

// Grow finds memory for more items and reports whether there may be any. taken
// is a number of items that every reader has taken, and room the position up to
// which all of them have room.
func (l *Shared[C]) Grow(taken, room uint64) bool {
	if room <= l.appended {
		return false
	}
	low := l.back.base // of what is needed in back
	if taken > low+1 {
		low = taken - 1 // which may still be handled
	}
	size := uint64(len(l.cells))
	if l.appended-low >= size {
		// room exceeds put, so this is larger.
		l.follow(int(min(2*size, room-taken+1)))
		low, size = l.appended, uint64(len(l.cells))
	}
	l.until = min(room, low+size)
	return true
}

// Slot is the cell of the next item, for the caller to fill. Only if Free. What
// the cell held before is still there.
func (l *Shared[C]) Slot() *C {
	c := &l.cells[l.at]
	l.at++
	if l.at == len(l.cells) {
		l.at = 0
	}
	l.appended++
	return c
}

// Append appends a copy of *c. Only if Free. Readers see it after Commit.
func (l *Shared[C]) Append(c *C) { *l.Slot() = *c }

// Slots is cells for the next items, at most n and Room of them, for the caller
// to fill; n and Room are positive.
func (l *Shared[C]) Slots(n int) []C {
	n = min(n, l.Room(), len(l.cells)-l.at)
	cells := l.cells[l.at : l.at+n]
	l.at += n
	if l.at == len(l.cells) {
		l.at = 0
	}
	l.appended += uint64(n)
	return cells
}

// Commit makes everything Append so far visible to readers. What the caller reads
// after it, readers that it must wake among that, is as new as the commit.
func (l *Shared[C]) Commit() { l.tail.Store(l.appended) }

// Appended is the position of the next item.
func (l *Shared[C]) Appended() uint64 { return l.appended }

// SetSoleReader says whether the mailbox has, for items put from now on, one reader only.
func (l *Shared[C]) SetSoleReader(alone bool) {
	was := l.soleFrom.Load() != noPosition
	switch {
	case alone && !was:
		l.soleFrom.Store(l.appended)
	case !alone:
		l.soleFrom.Store(noPosition)
	}
}

// StartSegment leaves the memory in use to its readers for good: what is put from now on
// goes elsewhere.
func (l *Shared[C]) StartSegment() {
	if l.appended > l.back.base {
		l.follow(len(l.cells))
		l.until = l.appended
	}
}

// Reclaim zeroes cells whose items every reader is done with: those before the
// position done. It is for logs of many readers.
func (l *Shared[C]) Reclaim(done uint64) {
	size := uint64(len(l.cells))
	low := l.back.base
	if l.appended > low+size {
		low = l.appended - size
	}
	if done <= low {
		return
	}
	first := (low - l.back.base) % size
	n := done - low
	clear(l.cells[first:min(size, first+n)])
	if first+n > size {
		clear(l.cells[:first+n-size])
	}
}
