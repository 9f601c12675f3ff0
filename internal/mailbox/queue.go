// Package mailbox holds the queues between publishers and lanes.
//
// [Queue] is the fast one: the producer side is serialised by its owner (a
// topic's lock), the consumer is one lane, and the two meet in two atomic
// words. [Ring] is the one a producer may also take from, which an overflow
// policy that drops old items needs; its owner's lock covers both sides.
package mailbox

import "sync/atomic"

// Chunk sizes: a queue starts small, because most of ten thousand topics never
// see a burst, and doubles to chunks that make crossing between them rare.
const (
	firstChunk = 8
	maxChunk   = 256
)

// cacheLine keeps what the two sides write apart: without it each Put would
// take the line of the consumer's cursor away from the other core.
const cacheLine = 64

// Queue is a single-producer single-consumer FIFO whose items are handled in
// place. The zero value is an empty queue that owns no memory.
//
// Producer methods (Put, Commit, Full, Len) must be serialised by the caller;
// consumer methods (Next, Rest) belong to one goroutine at a time. The two
// sides may run at once. Taken, Running and Ready may be called from anywhere.
//
// Memory is a circle of chunks. The producer re-uses the chunk behind its own
// when the consumer is not in it, and otherwise links a new one in, so the
// circle grows to the largest backlog seen and then allocates no more. The
// queue has no bound of its own: callers ask Full before they Put.
type Queue[C any] struct {
	// Consumer's own.
	front   *chunk[C]
	fi      int    // next index in front
	cleared int    // items before this index of front are zero again
	pos     uint64 // items taken
	limit   uint64 // items known to be committed
	_       [cacheLine]byte

	// cursor is pos<<1 | running: one store an event tells Stats and
	// producers alike what was taken and whether its handler still runs.
	cursor atomic.Uint64
	at     atomic.Pointer[chunk[C]] // the chunk the consumer is in
	_      [cacheLine]byte

	// Producer's own.
	back *chunk[C]
	bi   int
	put  uint64
	seen uint64 // a past value of pos; only ever too low
	_    [cacheLine]byte

	tail atomic.Uint64 // items committed
	_    [cacheLine]byte
}

type chunk[C any] struct {
	cells []C
	// next is written by the producer before it commits an item beyond this
	// chunk, and read by the consumer only once it has seen such an item, so
	// tail orders the two.
	next *chunk[C]
}

// Put appends a copy of *c. The consumer sees it after Commit.
func (q *Queue[C]) Put(c *C) {
	if q.back == nil || q.bi == len(q.back.cells) {
		q.grow()
	}
	q.back.cells[q.bi] = *c
	q.bi++
	q.put++
}

// Commit makes everything Put so far visible to the consumer.
func (q *Queue[C]) Commit() { q.tail.Store(q.put) }

// grow moves the producer to an empty chunk.
func (q *Queue[C]) grow() {
	q.bi = 0
	if q.back == nil {
		c := &chunk[C]{cells: make([]C, firstChunk)}
		c.next = c
		q.back = c
		// The consumer reads front only after it has seen a commit, which
		// comes after this.
		q.front = c
		q.at.Store(c)
		return
	}
	if next := q.back.next; next != q.at.Load() {
		q.back = next
		return
	}
	// The consumer is in the next chunk: every other chunk is full. It cannot
	// be reading q.back.next now, because nothing beyond q.back is committed.
	c := &chunk[C]{cells: make([]C, min(2*len(q.back.cells), maxChunk)), next: q.back.next}
	q.back.next = c
	q.back = c
}

// Full tells whether capacity items or more wait to be taken. The item that is
// being handled does not count.
func (q *Queue[C]) Full(capacity int) bool {
	if q.put-q.seen < uint64(capacity) {
		return false
	}
	q.seen = q.cursor.Load() >> 1
	return q.put-q.seen >= uint64(capacity)
}

// Room is how many items may be Put before Full, for a queue of that capacity.
func (q *Queue[C]) Room(capacity int) int {
	q.seen = q.cursor.Load() >> 1
	return max(0, capacity-int(q.put-q.seen))
}

// Len is how many items wait to be taken, Put but not committed ones included.
// It is exact for the producer side.
func (q *Queue[C]) Len() int { return int(q.put - q.Taken()) }

// PutCount is how many items were ever Put. Producer side.
func (q *Queue[C]) PutCount() uint64 { return q.put }

// Next takes the next item, marks it as running, and returns where it lies, or
// nil when nothing is committed. The item before it is settled by this call.
// The pointer is valid until the Next or Rest after it.
func (q *Queue[C]) Next() *C {
	if q.pos == q.limit {
		q.limit = q.tail.Load()
		if q.pos == q.limit {
			return nil
		}
	}
	if q.fi == len(q.front.cells) {
		q.sweep()
		q.front = q.front.next
		q.fi, q.cleared = 0, 0
		q.at.Store(q.front)
	}
	c := &q.front.cells[q.fi]
	q.fi++
	q.pos++
	q.cursor.Store(q.pos<<1 | 1)
	return c
}

// Rest says that the item taken last is settled and none is running, and
// clears the cells of all items taken, so that the queue keeps no value alive.
func (q *Queue[C]) Rest() {
	if q.cursor.Load()&1 != 0 {
		q.cursor.Store(q.pos << 1)
	}
	q.sweep()
}

// Settle says that the item taken last is settled and none is running; its cell
// stays as it is until the next Next or Rest.
func (q *Queue[C]) Settle() { q.cursor.Store(q.pos << 1) }

// Position is Taken for the consumer, at the price of a plain read.
func (q *Queue[C]) Position() uint64 { return q.pos }

// sweep zeroes the taken cells of the front chunk.
func (q *Queue[C]) sweep() {
	if q.cleared < q.fi { // only then has a commit made front ours to read
		clear(q.front.cells[q.cleared:q.fi])
		q.cleared = q.fi
	}
}

// Waiting is how many committed items wait to be taken, at some moment during the
// call if neither side stands still.
func (q *Queue[C]) Waiting() int {
	taken := q.cursor.Load() >> 1 // first: tail is never behind it
	return int(q.tail.Load() - taken)
}

// Ready tells whether a committed item waits. Exact for the consumer.
func (q *Queue[C]) Ready() bool { return q.tail.Load() != q.cursor.Load()>>1 }

// Taken is how many items were ever taken.
func (q *Queue[C]) Taken() uint64 { return q.cursor.Load() >> 1 }

// Cursor is Taken and whether the item taken last is still running, read at
// one moment.
func (q *Queue[C]) Cursor() (taken uint64, running bool) {
	c := q.cursor.Load()
	return c >> 1, c&1 != 0
}
