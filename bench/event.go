package main

import (
	"fmt"
	"sync/atomic"
)

// Event is what every contestant carries.
type Event struct {
	ID, Key uint64
	Price   float64
	Qty     int64
}

// event makes the event with that ID.
func event(id uint64) Event { return Event{ID: id, Price: 101.25, Qty: 100} }

// sumOf is the sum of the n IDs from first on.
func sumOf(first, n uint64) uint64 { return n*first + n*(n-1)/2 }

// latch opens when as many tallies as it was armed for have all their events.
type latch struct {
	left atomic.Int64
	open chan struct{} // capacity 1; nil for whoever polls left
}

func newLatch() *latch { return &latch{open: make(chan struct{}, 1)} }

func (l *latch) arm(n int) { l.left.Store(int64(n)) }

func (l *latch) done() {
	if l.left.Add(-1) == 0 && l.open != nil {
		l.open <- struct{}{}
	}
}

// tally is the handler of every contestant: it counts what comes, adds up the
// IDs and watches their order. It is used by one goroutine at a time.
type tally struct {
	n, sum   uint64
	want     uint64 // done is told when n reaches it
	wantSum  uint64
	last     uint64 // ID
	disorder uint64 // events with an ID below the one before
	latch    *latch
	_        [8]byte // fill the cache line: tallies stand in arrays
}

// handle takes one event.
func (t *tally) handle(e *Event) {
	t.n++
	t.sum += e.ID
	if e.ID < t.last {
		t.disorder++
	}
	t.last = e.ID
	if t.n == t.want {
		t.latch.done()
	}
}

// expect resets the tally for n events with that sum of IDs. It may be called
// while nothing is on its way.
func (t *tally) expect(n, sum uint64) {
	*t = tally{want: n, wantSum: sum, latch: t.latch}
}

// verify says what is wrong with what came, once nothing comes any more.
func (t *tally) verify() error {
	if t.n != t.want || t.sum != t.wantSum {
		return fmt.Errorf("handled %d events with ID sum %d, want %d with %d", t.n, t.sum, t.want, t.wantSum)
	}
	return nil
}

// newTallies makes n tallies that share a latch.
func newTallies(n int, l *latch) []tally {
	tallies := make([]tally, n)
	for i := range tallies {
		tallies[i].latch = l
	}
	return tallies
}
