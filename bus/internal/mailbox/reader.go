package mailbox

import "sync/atomic"

// Reader is a consumer's half of a queue: it takes a mailbox's items in order and
// leaves them where they are. Join, Detach and End belong to the writer of the
// mailbox; Taken, Cursor and Ready to anybody, and so Running when it may be called; Reattach to both sides; the other methods to
// one goroutine at a time, the consumer's.
type Reader[C any] struct {
	cells []C // of front
	fi    int // the cell of the next item
	pos   uint64
	limit uint64 // items up to here are committed, and stand in a row in cells
	// cursor is pos<<1 | running: one store an event tells Stats and
	// writers alike what was taken and whether its handler still runs.
	cursor atomic.Uint64

	front         atomic.Pointer[segment[C]]
	base          uint64 // of front
	log           atomic.Pointer[Shared[C]]
	detached      atomic.Pointer[detachment[C]]
	soleFrom      uint64 // items from here on are this reader's only
	hasPointers   bool   // any item may keep other memory alive
	clearAfterUse bool   // cells are cleared after use: see refresh
	dirty         bool   // that of the present item is
}

// detachment is where a reader leaves its mailbox: for another, or for good.
type detachment[C any] struct {
	at    uint64 // the position of the first item that does not come from the old mailbox
	to    *Shared[C]
	first atomic.Pointer[segment[C]] // of to; the reader forgets it when it is there
}

// Join makes a new reader of mailbox, from the next item on. keeps says that items
// may keep other memory alive, so that their cells are to be cleared.
func (r *Reader[C]) Join(shared *Shared[C], hasPointers bool) {
	r.enter(shared, shared.back)
	r.fi = shared.at
	r.pos, r.limit, r.hasPointers = shared.appended, shared.appended, hasPointers
	shared.until = shared.appended // r may have less room than the others
	r.cursor.Store(r.pos << 1)
}

// enter takes up reading at the beginning of a segment.
func (r *Reader[C]) enter(shared *Shared[C], s *segment[C]) {
	if r.log.Load() != shared {
		r.log.Store(shared)
	}
	r.front.Store(s)
	r.base, r.cells, r.fi = s.base, s.cells, 0
}

// Detach has the reader take its items, after those put so far, from a new mailbox
// that begins where its own stands, or from nowhere if private is false. The
// writer may then forget the reader, and must call StartSegment on the old mailbox if that goes on
// and the reader has not done with it. A reader detaches once, and once more after each
// Reattach.
func (r *Reader[C]) Detach(private bool) *Shared[C] {
	t := &detachment[C]{at: r.log.Load().appended}
	if private {
		t.to = NewShared[C](t.at)
		t.first.Store(t.to.back)
	}
	r.detached.Store(t)
	return t.to
}

// Reattach is Join for a reader that left for a mailbox of its own and has done with all
// that was put there. It is for writer and consumer at once: neither may call
// anything else meanwhile. Positions go on from where the mailbox joined stands.
func (r *Reader[C]) Reattach(shared *Shared[C]) {
	r.detached.Store(nil)
	r.Join(shared, r.hasPointers)
}

// End is the position of the next item that will be this reader's.
func (r *Reader[C]) End() uint64 {
	switch t := r.detached.Load(); {
	case t == nil:
		return r.log.Load().appended
	case t.to == nil:
		return t.at
	default:
		return t.to.appended
	}
}

// Next takes the next item, marks it as running, and returns where it lies, or
// nil when nothing is committed. The item before it is settled by this call.
// The pointer is valid until the Next or Idle after it.
func (r *Reader[C]) Next() *C {
	if r.dirty {
		r.clean()
	}
	if r.pos == r.limit && !r.refresh() {
		return nil
	}
	c := &r.cells[r.fi]
	r.fi++
	r.pos++
	r.dirty = r.clearAfterUse
	r.cursor.Store(r.pos<<1 | 1)
	return c
}

// Batch is the items that may be taken in a row, where they lie: each by a Take, in
// order, and settled by Clear, or by the next Batch, as by Next. It is empty when
// nothing is committed.
func (r *Reader[C]) Batch() []C {
	r.Clear()
	if r.pos == r.limit && !r.refresh() {
		return nil
	}
	return r.cells[r.fi : r.fi+int(r.limit-r.pos)]
}

// Take takes the next item of Batch, marks it as running, and returns how many were
// taken.
func (r *Reader[C]) Take() uint64 {
	r.fi++
	r.pos++
	r.dirty = r.clearAfterUse
	r.cursor.Store(r.pos<<1 | 1)
	return r.pos
}

// Running is where the item taken last lies. It is for anybody who has seen, by Cursor, that
// the item runs, as long as the consumer calls nothing else.
func (r *Reader[C]) Running() *C { return &r.cells[r.fi-1] }

// Clear lets go of the item taken last, which has settled.
func (r *Reader[C]) Clear() {
	if r.dirty {
		r.clean()
	}
}

// refresh finds out how many items may be taken in a row.
func (r *Reader[C]) refresh() bool {
	for {
		shared := r.log.Load()
		limit := shared.tail.Load()
		// What the writer did before it committed an item is seen below by
		// whoever has seen the item.
		t := r.detached.Load()
		detaches := t != nil && shared != t.to
		if detaches {
			limit = min(limit, t.at)
		}
		if shared.newest.Load() != r.base {
			next := r.front.Load().next.Load()
			if r.pos == next.base && !(detaches && r.pos == t.at) {
				r.enter(shared, next)
				continue
			}
			limit = min(limit, next.base)
		}
		if limit <= r.pos { // less, if it joined between a put and its commit
			if detaches && r.pos == t.at && t.to != nil {
				r.enter(t.to, t.first.Load())
				t.first.Store(nil) // EachFrom relies on the order
				continue
			}
			return false
		}
		if r.fi == len(r.cells) {
			r.fi = 0
		}
		r.limit = min(limit, r.pos+uint64(len(r.cells)-r.fi))
		r.soleFrom = shared.soleFrom.Load()
		// A cell that one reader has to itself is cleared although it keeps nothing
		// alive: the writer takes a cache line over faster from the one core that
		// wrote it last than from two that share it.
		r.clearAfterUse = r.hasPointers || r.limit > r.soleFrom
		return true
	}
}

// MarkDirty says that the item taken last may keep other memory alive.
func (r *Reader[C]) MarkDirty() { r.dirty = true }

// clean clears the cell of the item taken last, unless another reader may be in it.
func (r *Reader[C]) clean() {
	r.dirty = false
	if r.pos > r.soleFrom {
		var zero C
		r.cells[r.fi-1] = zero
	}
}

// Idle says that the item taken last is settled and none is running, and lets go
// of it.
func (r *Reader[C]) Idle() {
	if r.dirty {
		r.clean()
	}
	if r.cursor.Load()&1 != 0 {
		r.cursor.Store(r.pos << 1)
	}
}

// MarkDone says that the item taken last is settled and none is running; its cell
// stays as it is until the next Next or Idle.
func (r *Reader[C]) MarkDone() { r.cursor.Store(r.pos << 1) }

// Release lets go of the mailbox's memory. Nothing may be taken any more.
func (r *Reader[C]) Release() {
	r.front.Store(nil)
	r.cells = nil
}

// EachFrom calls f with the items from a position on, which the reader has not taken, where
// they lie. It is for the writer, and only when nothing is put for this reader any more.
// The consumer may take and settle what stands before that position meanwhile, and may
// take more, but must not settle that before the call is over.
func (r *Reader[C]) EachFrom(from uint64, f func(*C)) {
	t := r.detached.Load()
	if t == nil || t.to == nil {
		each(r.front.Load(), from, r.End(), f)
		return
	}
	first := t.first.Load() // before front: without it, front is in the other mailbox
	front := r.front.Load()
	if first != nil && from < t.at {
		from = each(front, from, t.at, f)
	}
	if first != nil {
		front = first
	}
	each(front, from, t.to.appended, f)
}

// each calls f with the items between two positions, of which the first is not before the
// segment, and returns the second.
func each[C any](s *segment[C], from, to uint64, f func(*C)) uint64 {
	for from < to {
		next, stop := s.next.Load(), to
		if next != nil {
			stop = min(stop, next.base)
		}
		for ; from < stop; from++ {
			f(&s.cells[(from-s.base)%uint64(len(s.cells))])
		}
		s = next
	}
	return to
}

// Position is Taken for the consumer, at the price of a plain read.
func (r *Reader[C]) Position() uint64 { return r.pos }

// Shared tells whether other readers may be in the cells of the items taken last,
// so that their values stay there until the mailbox is swept.
func (r *Reader[C]) Shared() bool { return r.pos <= r.soleFrom }

// Ready tells whether a committed item waits. Exact for the consumer.
func (r *Reader[C]) Ready() bool {
	taken := r.Taken()
	if t := r.detached.Load(); t != nil && taken >= t.at {
		return t.to != nil && t.to.tail.Load() > taken
	}
	return r.log.Load().tail.Load() > taken
}

// Waiting is how many committed items wait to be taken, at some moment during the
// call if neither side stands still. For anybody.
func (r *Reader[C]) Waiting() int {
	taken := r.Taken() // first: what was taken had been committed
	shared, end := r.log.Load(), uint64(noPosition)
	if t := r.detached.Load(); t != nil {
		if taken >= t.at {
			shared = t.to
		} else {
			end = t.at
		}
	}
	if shared == nil {
		return 0
	}
	return int(max(taken, min(end, shared.tail.Load())) - taken)
}

// Taken is the position of the next item to be taken.
func (r *Reader[C]) Taken() uint64 { return r.cursor.Load() >> 1 }

// Done is the position up to which the reader has done with items.
func (r *Reader[C]) Done() uint64 {
	c := r.cursor.Load()
	return c>>1 - c&1
}

// Cursor is Taken and whether the item taken last is still running, read at
// one moment.
func (r *Reader[C]) Cursor() (taken uint64, running bool) {
	c := r.cursor.Load()
	return c >> 1, c&1 != 0
}
