package bus

import (
	"github.com/shardbus/shardbus/bus/internal/mailbox"
	"github.com/shardbus/shardbus/internal/ring"
)

// evictingMailbox is the mailbox of a lane whose policy gives up what waits already:
// DropOldest and KeepLatest. A publisher may take from it, so nothing in it can be
// read in place; the lane's lock covers it.
type evictingMailbox[T any] struct {
	ring   ring.Ring[cell[T]]       // with DropOldest
	latest *mailbox.Latest[cell[T]] // with KeepLatest, else nil

	taken     uint64 // by the lane
	evicted   uint64 // by publishers, from the front
	running   bool   // the item taken last
	lastTaken uint64 // its number in order of arrival, counted from 1
}

// removed is how many items have left by the front.
func (m *evictingMailbox[T]) removed() uint64 { return m.taken + m.evicted }

func (m *evictingMailbox[T]) len() int {
	if m.latest != nil {
		return m.latest.Len()
	}
	return m.ring.Len()
}

func (m *evictingMailbox[T]) pop(c *cell[T]) bool {
	if m.latest != nil {
		return m.latest.Pop(c)
	}
	return m.ring.Pop(c)
}

// take takes the oldest item; it runs from now on.
func (m *evictingMailbox[T]) take(c *cell[T]) bool {
	if !m.pop(c) {
		return false
	}
	m.taken++
	m.running, m.lastTaken = true, m.removed()
	return true
}

// append enters *c, and reports whether another event had to make room for it, which
// is in *c then. With KeepLatest that is the waiting one of its key, if there is,
// and c takes its place in the line, if inPlace allows it. capacity bounds the line.
func (m *evictingMailbox[T]) append(c *cell[T], key string, capacity int, inPlace bool) (lost bool) {
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
