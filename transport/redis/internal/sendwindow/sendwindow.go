// Package sendwindow is what a publisher remembers of what it sent, to send it once more to a
// subscriber that missed it. It is pure: no I/O, no goroutines, and the clock is an argument.
//
// A [Window] holds the last documents of one channel by their numbers. A [Memory] bounds all
// windows of a process together; the oldest document of all goes first.
package sendwindow

import (
	"slices"
	"time"
)

// Limits bound a [Memory]. Every field must be positive.
type Limits struct {
	// Events and Bytes bound one window. A number that was declared void counts as an event of no
	// bytes.
	Events, Bytes int
	// TotalEvents and TotalBytes bound all windows together.
	TotalEvents, TotalBytes int
	// Age is how long anything is remembered.
	Age time.Duration
}

// Overhead is about what remembering an event costs beside its document, in bytes. It counts
// against the limits.
const Overhead = 96

// Fate is what a publisher can say of a number.
type Fate uint8

const (
	// Open: it is on its way, or was never assigned.
	Open Fate = iota
	// Sent: the broker accepted it, and here it is.
	Sent
	// Void: it will never be accepted, or nobody can tell; its Publish returned an error.
	Void
	// Gone: it is remembered no more.
	Gone
)

// Memory is the windows of one process. It is not safe for concurrent use, nor are its windows.
type Memory struct {
	limits Limits
	events int
	bytes  int

	oldest, newest *entry // of all windows, in the order in which they came
	free           *entry // chained by next
	frees          int
}

// keptFree is how many entries are kept for reuse.
const keptFree = 1024

// entry is one number that is remembered.
type entry struct {
	window       *Window
	older, newer *entry
	doc          []byte // nil: void
	at           time.Time
}

func (e *entry) size() int { return cap(e.doc) + Overhead }

// New returns an empty memory.
func New(limits Limits) *Memory { return &Memory{limits: limits} }

// Events is how many numbers are remembered now.
func (m *Memory) Events() int { return m.events }

// Bytes is what they cost.
func (m *Memory) Bytes() int { return m.bytes }

// Window remembers one channel's numbers.
type Window struct {
	memory *Memory
	low    uint64 // below it everything is gone
	// ring holds the entries of low, low+1 …, from head on; nil where a number is open. Its length
	// is a power of two.
	ring   []*entry
	head   int
	span   int // how many numbers the ring has, open ones included
	events int
	bytes  int
}

// Window returns the window of one more channel, whose first number is 1.
func (m *Memory) Window() *Window { return &Window{memory: m, low: 1} }

// Low is the lowest number that is not gone.
func (w *Window) Low() uint64 { return w.low }

// Put remembers a document that the broker accepted; it belongs to the window from then on. A
// number that is gone, void or there already stays what it is. spare is a buffer that nobody uses
// any more; nil if there is none.
func (w *Window) Put(now time.Time, seq uint64, doc []byte) (spare []byte) {
	if cap(doc) > 2*len(doc)+slack { // a large buffer with a small document
		spare, doc = doc, slices.Clone(doc)
	}
	if !w.place(now, seq, doc) {
		return doc
	}
	if freed := w.memory.trim(now, w); spare == nil {
		spare = freed
	}
	return spare
}

// slack is how much larger than needed a document's buffer may be.
const slack = 512

// Declare remembers that a number will not come. It has no effect on one that is gone or there.
func (w *Window) Declare(now time.Time, seq uint64) {
	if w.place(now, seq, nil) {
		w.memory.trim(now, w)
	}
}

// Look says what became of a number, and returns its document if it was sent. The document is the
// window's and stays as it is until the next Put or Declare of any window.
func (w *Window) Look(seq uint64) (Fate, []byte) {
	switch {
	case seq < w.low:
		return Gone, nil
	case seq-w.low >= uint64(w.span):
		return Open, nil
	}
	e := w.ring[w.index(int(seq-w.low))]
	switch {
	case e == nil:
		return Open, nil
	case e.doc == nil:
		return Void, nil
	}
	return Sent, e.doc
}

// Drop forgets everything of the window.
func (w *Window) Drop() {
	for w.span > 0 {
		w.forgetFirst()
	}
}

// Expire forgets what is too old in any window.
func (m *Memory) Expire(now time.Time) {
	for m.oldest != nil && now.Sub(m.oldest.at) > m.limits.Age {
		m.forgetOldest()
	}
}

func (w *Window) index(i int) int { return (w.head + i) & (len(w.ring) - 1) }

// place puts an entry at its number, if that is open.
func (w *Window) place(now time.Time, seq uint64, doc []byte) bool {
	if seq < w.low {
		return false
	}
	// Numbers come nearly in order; one that is far ahead would need a ring of that size. Then what
	// is behind is gone.
	for w.span > 0 && seq-w.low >= uint64(2*w.memory.limits.Events) {
		w.forgetFirst()
	}
	if w.span == 0 && seq-w.low >= uint64(2*w.memory.limits.Events) {
		w.low = seq
	}
	i := int(seq - w.low)
	w.grow(i + 1)
	w.span = max(w.span, i+1)
	if w.ring[w.index(i)] != nil {
		return false
	}
	e := w.memory.entry()
	e.window, e.doc, e.at = w, doc, now
	w.ring[w.index(i)] = e
	w.events++
	w.bytes += e.size()
	w.memory.append(e)
	return true
}

// grow makes room for n numbers.
func (w *Window) grow(n int) {
	size := max(len(w.ring), 4)
	for size < n {
		size *= 2
	}
	if size == len(w.ring) {
		return
	}
	larger := make([]*entry, size)
	for i := range w.span {
		larger[i] = w.ring[w.index(i)]
	}
	w.ring, w.head = larger, 0
}

// trim forgets what is beyond the limits, and returns one of the buffers.
func (m *Memory) trim(now time.Time, w *Window) (spare []byte) {
	keep := func(doc []byte) {
		if doc != nil {
			spare = doc
		}
	}
	for w.events > m.limits.Events || w.bytes > m.limits.Bytes {
		keep(w.forgetFirst())
	}
	for m.oldest != nil && (m.events > m.limits.TotalEvents || m.bytes > m.limits.TotalBytes || now.Sub(m.oldest.at) > m.limits.Age) {
		keep(m.forgetOldest())
	}
	return spare
}

// forgetOldest forgets the oldest entry of all, with all numbers below it.
func (m *Memory) forgetOldest() (spare []byte) {
	e := m.oldest
	w := e.window
	for m.oldest == e {
		spare = w.forgetFirst()
	}
	return spare
}

// forgetFirst makes the window's lowest number gone.
func (w *Window) forgetFirst() (spare []byte) {
	e := w.ring[w.head]
	w.ring[w.head] = nil
	w.head = w.index(1)
	w.span--
	w.low++
	if e == nil {
		return nil
	}
	w.events--
	w.bytes -= e.size()
	spare = e.doc
	w.memory.remove(e)
	if w.span == 0 {
		w.ring, w.head = nil, 0 // an idle channel costs nothing
	}
	return spare
}

// entry returns an empty one.
func (m *Memory) entry() *entry {
	e := m.free
	if e == nil {
		return new(entry)
	}
	m.free = e.newer
	m.frees--
	e.newer = nil
	return e
}

func (m *Memory) append(e *entry) {
	m.events++
	m.bytes += e.size()
	e.older = m.newest
	if m.newest != nil {
		m.newest.newer = e
	} else {
		m.oldest = e
	}
	m.newest = e
}

func (m *Memory) remove(e *entry) {
	m.events--
	m.bytes -= e.size()
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		m.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		m.newest = e.older
	}
	*e = entry{}
	if m.frees < keptFree {
		e.newer, m.free = m.free, e
		m.frees++
	}
}
