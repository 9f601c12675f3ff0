package mailbox

import "github.com/shardbus/shardbus/internal/ring"

// Latest is a [ring.Ring] in which an item replaces the one of its key that waits, in
// its place. The zero value is empty and owns no memory. It is not safe for
// concurrent use: the owner's lock covers every method.
type Latest[C any] struct {
	items  ring.Ring[latestItem[C]]
	places map[string]uint64 // key → number of its item, counted from the first ever
	popped uint64            // items ever popped: the number of the oldest
}

type latestItem[C any] struct {
	key string
	c   C
}

// Len is how many items wait.
func (l *Latest[C]) Len() int { return l.items.Len() }

// Replace puts *c in the place of the item of that key and the old one into *c,
// and reports whether there was one. No item has the empty key.
func (l *Latest[C]) Replace(key string, c *C) bool {
	n, ok := l.places[key]
	if !ok {
		return false
	}
	item := l.items.At(int(n - l.popped))
	item.c, *c = *c, item.c
	item.key = key // the same, but the older string may be a part of something large
	return true
}

// Push appends a copy of *c. If an item has its key already, that one stays, and the
// new one is what Replace replaces from now on. An empty key is none.
func (l *Latest[C]) Push(key string, c *C) {
	if key != "" {
		if l.places == nil {
			l.places = make(map[string]uint64)
		}
		l.places[key] = l.popped + uint64(l.items.Len())
	}
	l.items.Push(&latestItem[C]{key: key, c: *c})
}

// Pop moves the oldest item into *c and reports whether there was one.
func (l *Latest[C]) Pop(c *C) bool {
	var item latestItem[C]
	if !l.items.Pop(&item) {
		return false
	}
	if item.key != "" && l.places[item.key] == l.popped {
		delete(l.places, item.key)
	}
	l.popped++
	*c = item.c
	return true
}
