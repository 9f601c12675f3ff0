package mailbox

import (
	"sync"

	"github.com/shardbus/shardbus/internal/ring"
)

// evicting holds the items of a queue from which publishers take, too: so none can be read where
// it waits. Its lock covers all of it but slot and last, which are the consumer's.
type evicting[C any] struct {
	mu      sync.Mutex
	items   ring.Ring[C]
	latest  *Latest[C] // in place of items, if a newer item replaces the one of its key
	left    uint64     // items that left by the front: taken, or evicted
	evicted uint64     // of these

	slot C      // the item taken last
	last uint64 // its number in order of arrival, counted from 1
}

func (e *evicting[C]) lenLocked() int {
	if e.latest != nil {
		return e.latest.Len()
	}
	return e.items.Len()
}

func (e *evicting[C]) popLocked(c *C) bool {
	ok := false
	if e.latest != nil {
		ok = e.latest.Pop(c)
	} else {
		ok = e.items.Pop(c)
	}
	if ok {
		e.left++
	}
	return ok
}

func (e *evicting[C]) evictLocked(c *C) bool {
	if !e.popLocked(c) {
		return false
	}
	e.evicted++
	return true
}

func (e *evicting[C]) length() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lenLocked()
}

func (e *evicting[C]) entered() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left + uint64(e.lenLocked())
}

// append is Queue.Evict.
func (e *evicting[C]) append(c *C, key string, capacity int, inPlace bool) (lost Loss, depth int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.latest != nil && inPlace && e.latest.Replace(key, c) {
		return Replaced, e.lenLocked()
	}
	var oldest C
	if e.lenLocked() >= capacity && e.evictLocked(&oldest) {
		lost = Evicted
	}
	if e.latest != nil {
		e.latest.Push(key, c)
	} else {
		e.items.Push(c)
	}
	if lost == Evicted {
		*c = oldest
	}
	return lost, e.lenLocked()
}
