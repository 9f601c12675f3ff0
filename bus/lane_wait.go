package bus

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus/internal/waitgraph"
	"github.com/shardbus/shardbus/internal/signal"
)

// noWaiter in a lane's wakeAt says that nobody waits for room.
const noWaiter = math.MaxUint64

// waiter is a publisher that waits for room.
type waiter struct {
	ready signal.Wakeup
	timer *time.Timer
	wait  *waitgraph.Wait // not nil when a handler waits
	next  *waiter         // of the free list
}

// roomWaiters is a lane's publishers that wait for room.
type roomWaiters struct {
	// wakeAt is the least at of the places, read by the lane for every event;
	// noWaiter when there is none.
	wakeAt atomic.Uint64
	mu     struct {
		sync.Mutex
		places []waiterEntry
		tell   bool // wakeAt is 0: the watch for slow handlers is to be told of the next start
	}
}

// waiterEntry is a waiter's place in the list of one lane: it is to be woken when the
// lane has taken at events.
type waiterEntry struct {
	w   *waiter
	at  uint64
	one uint64 // when a single place is free
}

// addWaiter registers w to be woken when the lane has taken at events; one is how
// many free a single place.
func (l *lane[T]) addWaiter(w *waiter, at, one uint64) {
	l.wait.mu.Lock()
	l.wait.mu.places = append(l.wait.mu.places, waiterEntry{w, at, one})
	l.wait.wakeAt.Store(min(l.wait.wakeAt.Load(), at))
	l.wait.mu.Unlock()
	// The lane may have taken its last event before it could see wakeAt; then
	// nobody else would look.
	if l.taken() >= at {
		l.wakeWaiters()
	}
}

// acceptOnePlace makes w content with a single free place, if it is not yet, and looks
// whether there is one.
func (l *lane[T]) acceptOnePlace(w *waiter) {
	l.wait.mu.Lock()
	i := slices.IndexFunc(l.wait.mu.places, func(p waiterEntry) bool { return p.w == w })
	if i < 0 {
		l.wait.mu.Unlock()
		return // it has been woken
	}
	p := &l.wait.mu.places[i]
	p.at = min(p.at, p.one)
	at := p.at
	l.wait.wakeAt.Store(min(l.wait.wakeAt.Load(), at))
	l.wait.mu.Unlock()
	if l.taken() >= at {
		l.wakeWaiters()
	}
}

// removeWaiter takes w out if it is still there.
func (l *lane[T]) removeWaiter(w *waiter) {
	l.wait.mu.Lock()
	defer l.wait.mu.Unlock()
	l.wait.mu.places = slices.DeleteFunc(l.wait.mu.places, func(p waiterEntry) bool { return p.w == w })
}

// startsLocked says that an attempt starts now, where that takes the lane's lock anyway. The
// others find wakeAt set.
func (l *lane[T]) startsLocked() {
	if l.mu.tell {
		l.mu.tell = false
		l.core.slow.NoteStart()
	}
}

// wakeWaiters wakes everybody who waits for room here. They look again, and
// whoever finds none waits again.
func (l *lane[T]) wakeWaiters() {
	l.wait.mu.Lock()
	if l.wait.mu.tell {
		l.wait.mu.tell = false
		defer l.core.slow.NoteStart()
	}
	defer l.wait.mu.Unlock()
	for _, p := range l.wait.mu.places {
		if p.w.wait != nil {
			p.w.wait.End()
		}
		p.w.ready.Notify()
	}
	clear(l.wait.mu.places)
	l.wait.mu.places = l.wait.mu.places[:0]
	l.wait.wakeAt.Store(noWaiter)
}
