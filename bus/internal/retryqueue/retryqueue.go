// Package retryqueue is where events wait for another attempt, in the order of their keys: each
// key with the event that is attempted next and those that came behind it, each event without a
// key by itself. It knows no clock and takes no lock.
package retryqueue

import (
	"container/heap"
	"iter"
	"slices"
	"time"

	"github.com/shardbus/shardbus/internal/ring"
)

// Item is an event that waits.
type Item[E any] struct {
	Event   E
	N       uint64 // its number in order of arrival
	Attempt int    // the number of the attempt that it waits for, from 1
	// Recheck, if it is not 0, says that the event is not free to run when it is due: the caller
	// looks whether it is by then, and waits so much longer if it is not.
	Recheck time.Duration
	// Epoch is the caller's, about what the item waits for while it is to be looked at again.
	Epoch int
	// Due is from when on it may run, if it has come to stand behind another item that was inserted.
	Due time.Time
}

// Queue is the zero value, empty, and then what its methods make of it.
type Queue[E any] struct {
	n     int // items that wait; those being run do not
	byKey map[string]*Key[E]
	heap  dueHeap[E]
	seq   uint64
}

// Key is one key that waits, or, between Pop and Return, that is being run.
type Key[E any] struct {
	Name  string  // "" stands for an event without a key
	First Item[E] // to be run next

	due    time.Time
	seq    uint64 // order among equal dues
	behind ring.Ring[Item[E]]
}

// Len is how many items wait. Those that Pop and Follow have taken do not.
func (q *Queue[E]) Len() int { return q.n }

// Keys is how many keys wait or are being run.
func (q *Queue[E]) Keys() int { return len(q.byKey) }

// First is the number of the first item of a key that waits or is being run.
func (q *Queue[E]) First(key string) (n uint64, ok bool) {
	g := q.byKey[key]
	if g == nil {
		return 0, false
	}
	return g.First.N, true
}

// Defer has an item wait until due. The queue must have nothing of its key, if it has one.
func (q *Queue[E]) Defer(key string, it Item[E], due time.Time) {
	g := &Key[E]{Name: key, First: it}
	if key != "" { // so that there is nothing in byKey to find for events without a key
		if q.byKey == nil {
			q.byKey = make(map[string]*Key[E])
		}
		q.byKey[key] = g
	}
	q.push(g, due)
}

func (q *Queue[E]) push(g *Key[E], due time.Time) {
	q.n++
	q.seq++
	g.due, g.seq = due, q.seq
	heap.Push(&q.heap, g)
}

// Behind has an item wait behind its key, and reports whether the queue has that.
func (q *Queue[E]) Behind(key string, it Item[E]) bool {
	g := q.byKey[key]
	if g == nil {
		return false
	}
	g.behind.Push(&it)
	q.n++
	return true
}

// Insert has an item wait in its place among those of its key: in front of the first that it is before.
// The key waits until due if the item is its first. Nothing of the key may be run meanwhile. It returns the
// event right in front of the item; nil: it is the first.
func (q *Queue[E]) Insert(key string, it Item[E], due time.Time, before func(a, b *E) bool) (ahead *E) {
	g := q.byKey[key]
	if g == nil {
		q.Defer(key, it, due)
		return nil
	}
	q.n++
	if before(&it.Event, &g.First.Event) {
		first := g.First
		first.Due = g.due
		g.First = it
		g.insert(0, &first)
		g.due = due
		heap.Fix(&q.heap, slices.Index(q.heap, g))
		return nil
	}
	i := g.behind.Len()
	for i > 0 && before(&it.Event, &g.behind.At(i-1).Event) {
		i--
	}
	it.Due = due
	g.insert(i, &it)
	if i == 0 {
		return &g.First.Event
	}
	return &g.behind.At(i - 1).Event
}

// Behinds is the events behind the first of a key, in order. The pointers are valid until the next call of
// another method.
func (q *Queue[E]) Behinds(key string) iter.Seq[*E] {
	return func(yield func(*E) bool) {
		g := q.byKey[key]
		if g == nil {
			return
		}
		for i := range g.behind.Len() {
			if !yield(&g.behind.At(i).Event) {
				return
			}
		}
	}
}

// Last is the last event of a key that stands behind another one; nil: none does.
func (q *Queue[E]) Last(key string) *E {
	g := q.byKey[key]
	if g == nil || g.behind.Len() == 0 {
		return nil
	}
	return &g.behind.At(g.behind.Len() - 1).Event
}

// insert puts an item at the i-th place behind the first.
func (g *Key[E]) insert(i int, it *Item[E]) {
	g.behind.Push(it)
	for at := g.behind.Len() - 1; at > i; at-- {
		*g.behind.At(at) = *g.behind.At(at - 1)
	}
	*g.behind.At(i) = *it
}

// Replace puts it in the place of the one item behind its key that was never attempted, and
// returns the event of that. It does nothing if there is no such item, or another one.
func (q *Queue[E]) Replace(key string, it Item[E]) (old E, replaced bool) {
	g := q.byKey[key]
	if g == nil || g.behind.Len() != 1 || g.behind.Peek().Attempt != 1 {
		return old, false
	}
	last := g.behind.Peek()
	if it.Recheck == 0 {
		it.Recheck = last.Recheck
	}
	old, *last = last.Event, it
	return old, true
}

// Pop takes out the key that is due first, to run its first item, or nil when none is due by now.
// Return must follow.
func (q *Queue[E]) Pop(now time.Time) *Key[E] {
	if len(q.heap) == 0 || q.heap[0].due.After(now) {
		return nil
	}
	q.n--
	return heap.Pop(&q.heap).(*Key[E])
}

// Follow takes the item next behind g, to be run together with what was taken of g so far. There
// is one if neither it nor the first was attempted before, and it is free to run.
func (q *Queue[E]) Follow(g *Key[E]) (it Item[E], ok bool) {
	if g.First.Attempt != 1 || g.behind.Len() == 0 {
		return it, false
	}
	if next := g.behind.Peek(); next.Attempt != 1 || next.Recheck != 0 || !next.Due.IsZero() {
		return it, false
	}
	q.n--
	g.behind.Pop(&it)
	return it, true
}

// Return says that what was taken of g was run. The items that come again wait in front of what is
// behind g, the first of them until due. Without any, what is behind follows at once, or else the
// key is free.
func (q *Queue[E]) Return(g *Key[E], due time.Time, again ...Item[E]) {
	if len(again) == 0 {
		if g.behind.Pop(&g.First) {
			q.n-- // push counts it again
			q.push(g, g.First.Due)
			return
		}
		g.First = Item[E]{}
		delete(q.byKey, g.Name)
		return
	}
	if rest := again[1:]; len(rest) > 0 {
		q.n += len(rest)
		var behind ring.Ring[Item[E]]
		for i := range rest {
			behind.Push(&rest[i])
		}
		var it Item[E]
		for g.behind.Pop(&it) {
			behind.Push(&it)
		}
		g.behind = behind
	}
	g.First = again[0]
	q.push(g, due)
}

// NextDue is when the next item is due.
func (q *Queue[E]) NextDue() (due time.Time, ok bool) {
	if len(q.heap) == 0 {
		return time.Time{}, false
	}
	return q.heap[0].due, true
}

// Each calls f with every event that waits.
func (q *Queue[E]) Each(f func(*E)) {
	for _, g := range q.heap {
		f(&g.First.Event)
	}
	for _, g := range q.byKey { // what is being run is not in the heap
		g.behind.Each(func(it *Item[E]) { f(&it.Event) })
	}
}

// Clear forgets everything, calls f with every event that waits first, and returns how many they
// were. Nothing may be returned any more.
func (q *Queue[E]) Clear(f func(*E)) int {
	n := q.n
	q.Each(f)
	*q = Queue[E]{}
	return n
}

// DeleteFunc forgets the events that wait for which f is true, and returns how many they were. What was
// behind the first of a key, if that goes, is due at once, or when it was. Nothing may be in hand between Pop and Return.
func (q *Queue[E]) DeleteFunc(f func(*E) bool) (n int) {
	kept := q.heap[:0]
	for _, g := range q.heap {
		var behind ring.Ring[Item[E]]
		var it Item[E]
		gone := f(&g.First.Event)
		for g.behind.Pop(&it) {
			if f(&it.Event) {
				n++
				continue
			}
			behind.Push(&it)
		}
		g.behind = behind
		if gone {
			n++
			if !g.behind.Pop(&g.First) {
				delete(q.byKey, g.Name)
				continue
			}
			g.due = g.First.Due
		}
		kept = append(kept, g)
	}
	clear(q.heap[len(kept):])
	q.heap = kept
	heap.Init(&q.heap)
	q.n -= n
	return n
}

// dueHeap orders keys by when they are due.
type dueHeap[E any] []*Key[E]

func (h dueHeap[E]) Len() int { return len(h) }
func (h dueHeap[E]) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h dueHeap[E]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap[E]) Push(x any)   { *h = append(*h, x.(*Key[E])) }
func (h *dueHeap[E]) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return g
}
