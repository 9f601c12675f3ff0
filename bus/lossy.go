package bus

import "github.com/shardbus/shardbus/internal/mailbox"

// lossy is the mailbox of a lane whose policy gives up what waits already:
// DropOldest and KeepLatest. A producer may take from it, so nothing in it can be
// read in place; the lane's lock covers it.
type lossy[T any] struct {
	ring   mailbox.Ring[cell[T]]    // with DropOldest
	latest *mailbox.Latest[cell[T]] // with KeepLatest, else nil

	taken   uint64 // by the lane
	evicted uint64 // by producers, from the front
	running bool   // the item taken last
	ran     uint64 // its number in order of arrival, counted from 1
}

// gone is how many items have left by the front.
func (m *lossy[T]) gone() uint64 { return m.taken + m.evicted }

func (m *lossy[T]) len() int {
	if m.latest != nil {
		return m.latest.Len()
	}
	return m.ring.Len()
}

func (m *lossy[T]) pop(c *cell[T]) bool {
	if m.latest != nil {
		return m.latest.Pop(c)
	}
	return m.ring.Pop(c)
}

// take takes the oldest item; it runs from now on.
func (m *lossy[T]) take(c *cell[T]) bool {
	if !m.pop(c) {
		return false
	}
	m.taken++
	m.running, m.ran = true, m.gone()
	return true
}

// put enters *c, and reports whether another event had to make room for it, which
// is in *c then. With KeepLatest that is the waiting one of its key, if there is,
// and c takes its place in the line, if inPlace allows it. capacity bounds the line.
func (m *lossy[T]) put(c *cell[T], key string, capacity int, inPlace bool) (lost bool) {
	if m.latest != nil && inPlace && m.latest.Replace(key, c) {
		return true
	}
	var oldest cell[T]
	if lost = m.len() >= capacity && m.pop(&oldest); lost {
		m.evicted++
	}
	if m.latest != nil {
		m.latest.Push(key, c)
	} else {
		m.ring.Push(c)
	}
	if lost {
		*c = oldest
	}
	return lost
}
