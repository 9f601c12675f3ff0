package mailbox

// Queue is the mailbox of one lane. Its items stand in a [Shared], that of the lane alone or one
// that many lanes read; or, after Evicts, in a queue of its own from which publishers take items
// back when it is full. The consumer and who asks need not know which.
//
// The consumer's methods are those of [Reader], but Batch, Take and Clear, which are for a Shared.
// Positions count items in the order in which they are taken.
type Queue[C any] struct {
	// Own is the lane's own Shared; nil while it reads that of many, and after Evicts.
	Own *Shared[C]
	Reader[C]
	evicting *evicting[C] // beside the consumer's half, which looks at it; publishers look at Own first
}

// Loss is what became of an item that had to make room for another one.
type Loss uint8

// The losses.
const (
	NoLoss   Loss = iota // there was room
	Evicted              // it was the oldest
	Replaced             // it was the one of the other's key, and that has its place
)

// Evicts has publishers take items back when the queue is full. latest says that an item may
// replace the one of its key that waits.
func (q *Queue[C]) Evicts(latest bool) {
	q.evicting = new(evicting[C])
	if latest {
		q.evicting.latest = new(Latest[C])
	}
}

// Evicting tells whether Evicts was called, of a queue that does not read a Shared of many.
func (q *Queue[C]) Evicting() bool { return q.Own == nil }

// Replacing tells whether an item may replace the one of its key.
func (q *Queue[C]) Replacing() bool { return q.evicting != nil && q.evicting.latest != nil }

// Open makes the queue a reader of shared or, if that is nil, of a Shared of its own. hasPointers
// is that of Join.
func (q *Queue[C]) Open(shared *Shared[C], hasPointers bool) {
	if shared == nil {
		q.Own = NewShared[C](0)
		shared = q.Own
	}
	q.Join(shared, hasPointers)
}

// Full tells whether the queue, which must not read a Shared of many, has no room. One that evicts
// always has. It is the publishers'.
func (q *Queue[C]) Full(capacity int) bool {
	if q.Own == nil || q.Own.Free() {
		return false
	}
	taken := q.Taken()
	return !q.Own.Grow(taken, taken+uint64(capacity))
}

// Evict enters *c into a queue that evicts, after which depth items wait. If another item had to
// make room, that is in *c then. inPlace is false where no item may be replaced. It is the
// publishers'.
func (q *Queue[C]) Evict(c *C, key string, capacity int, inPlace bool) (lost Loss, depth int) {
	return q.evicting.append(c, key, capacity, inPlace)
}

// Entered is how many items ever entered, in the order in which they leave the queue, or, of a
// Shared of many, the position of its end. It is the publishers'.
func (q *Queue[C]) Entered() uint64 {
	if q.evicting != nil {
		return q.evicting.entered()
	}
	return q.End()
}

// QueuedFrom is how many items wait behind those that had been taken at some time. It is the
// publishers'.
func (q *Queue[C]) QueuedFrom(taken uint64) uint64 {
	e := q.evicting
	if e == nil {
		return q.End() - taken
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left - e.evicted - taken + uint64(e.lenLocked())
}

// Past tells whether of the first n items that entered none waits, or runs as what was taken last.
func (q *Queue[C]) Past(n uint64) bool {
	e := q.evicting
	if e == nil {
		taken, running := q.Cursor()
		return taken > n || taken == n && !running
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, running := q.Cursor()
	return e.left >= n && (!running || e.last > n)
}

// Abandon ends the queue: nothing must be put any more, and what waits is given up. It returns the
// position from where on nothing counts, and how many items stood there. f, if it is not nil, is
// called with each, while the consumer may go on.
func (q *Queue[C]) Abandon(f func(*C)) (from uint64, n int) {
	e := q.evicting
	if e == nil {
		from = q.Taken()
		if f != nil {
			q.EachFrom(from, f)
		}
		return from, int(q.End() - from)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var c C
	for e.evictLocked(&c) {
		n++
		if f != nil {
			f(&c)
		}
	}
	return q.Taken(), n
}

// Number is that of the item taken last, in order of arrival, counted from 1.
func (q *Queue[C]) Number() uint64 {
	if q.evicting != nil {
		return q.evicting.last
	}
	return q.pos
}

// Next is that of Reader.
func (q *Queue[C]) Next() *C {
	e := q.evicting
	if e == nil {
		return q.Reader.Next()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.popLocked(&e.slot) {
		return nil
	}
	e.last = e.left
	q.pos++
	q.cursor.Store(q.pos<<1 | 1)
	return &e.slot
}

// Running is that of Reader.
func (q *Queue[C]) Running() *C {
	if q.evicting != nil {
		return &q.evicting.slot
	}
	return q.Reader.Running()
}

// Idle is that of Reader.
func (q *Queue[C]) Idle() {
	if e := q.evicting; e != nil {
		q.MarkDone()
		var zero C
		e.slot = zero
		return
	}
	q.Reader.Idle()
}

// Ready is that of Reader.
func (q *Queue[C]) Ready() bool {
	if q.evicting != nil {
		return q.evicting.length() > 0
	}
	return q.Reader.Ready()
}

// Waiting is that of Reader.
func (q *Queue[C]) Waiting() int {
	if q.evicting != nil {
		return q.evicting.length()
	}
	return q.Reader.Waiting()
}

// Shared is that of Reader.
func (q *Queue[C]) Shared() bool { return q.evicting == nil && q.Reader.Shared() }
