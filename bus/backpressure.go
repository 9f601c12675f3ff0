package bus

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// noWaiter in a lane's wakeAt says that nobody waits for room.
const noWaiter = math.MaxUint64

// impatience is how long a blocked publisher waits for half the mailbox to
// drain before it takes the first place that falls free. Waking once for many
// places saves a switch of goroutines an event while handlers are fast; with
// slow ones this bound keeps a publisher from idling beside free places.
const impatience = time.Millisecond

// producer is one call of Publish: what it needs to know of its caller, found
// out only when needed, because a context's Value is user code.
type producer struct {
	ctx      context.Context
	known    bool
	caller   *laneNode // the lane whose handler publishes, or nil
	admitted bool      // may publish although the bus shuts down
}

func (p *producer) lane() *laneNode {
	if !p.known {
		p.caller, p.known = callerLane(p.ctx), true
	}
	return p.caller
}

// admit says whether this producer may publish on b in its present state: from
// outside only while it is open, a handler of b until it is closed.
func (p *producer) admit(b *Bus) error {
	switch b.state.Load() {
	case stateOpen:
		return nil
	case stateDraining:
		if l := p.lane(); l != nil && l.sub.bus == b {
			p.admitted = true
			return nil
		}
	}
	return ErrClosed
}

// waiter is a publisher that waits for room in a lane.
type waiter struct {
	ready chan struct{} // capacity 1
	timer *time.Timer
	// at is the number of taken items that makes the wait worth ending.
	at   uint64
	edge *edge // not nil when a handler waits
}

// edge says that a handler waits for room in another lane: an edge of the graph
// in which a deadlock is a cycle.
type edge struct {
	on   *laneNode
	over atomic.Bool // room was found, or the wait given up
}

// awaitRoom waits until full, a lane, may have room. It is called with in.mu
// held and returns with it held; what it saw before is stale then. The error is
// complete.
func (in *intake[T]) awaitRoom(p *producer, full *lane[T]) error {
	s, b := full.sub, in.topic.bus
	fail := func(err error, detail string) error {
		return &Error{Op: "publish", Topic: in.topic.info.name, Subscription: s.name, Err: err, Detail: detail}
	}
	if s.opts.policy == Fail {
		return fail(ErrMailboxFull, fmt.Sprintf("%d events wait; the event entered no mailbox", s.opts.capacity))
	}
	if !p.known {
		// Who asks may be a handler: ask outside the lock, then look again.
		in.mu.Unlock()
		p.lane()
		in.mu.Lock()
		return nil
	}
	w := in.waiterLocked()
	w.edge = nil
	if p.caller != nil {
		w.edge = &edge{on: &full.node}
	}
	full.enlist(w, full.roomAt(s.opts.wakeRoom()))
	in.mu.Unlock()

	err := func() error {
		stop := b.draining
		if p.admitted || p.caller != nil && p.caller.sub.bus == b {
			stop = b.closed
		}
		if w.edge != nil {
			p.caller.waits.Store(w.edge)
			defer p.caller.waits.Store(nil)
			defer w.edge.over.Store(true)
			if cycle(p.caller) {
				return fail(ErrWouldDeadlock, "its handlers wait, directly or through others, for the one that publishes")
			}
		}
		w.timer.Reset(impatience)
		defer w.timer.Stop()
		for {
			select {
			case <-w.ready:
				return nil
			case <-w.timer.C:
				full.hurry(w)
			case <-p.ctx.Done():
				return fail(context.Cause(p.ctx), fmt.Sprintf("its mailbox of %d stayed full; the event entered no mailbox", s.opts.capacity))
			case <-stop:
				return fail(ErrClosed, "the bus shut down while its mailbox was full")
			}
		}
	}()
	full.delist(w)
	in.mu.Lock()
	in.mu.free = append(in.mu.free, w)
	return err
}

// waiterLocked takes a waiter from the free list or makes one.
func (in *intake[T]) waiterLocked() *waiter {
	if n := len(in.mu.free); n > 0 {
		w := in.mu.free[n-1]
		in.mu.free = in.mu.free[:n-1]
		return w
	}
	w := &waiter{ready: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}

// waitList is a lane's publishers that wait for room.
type waitList struct {
	// wakeAt is the least waiter.at, read by the lane for every event; noWaiter
	// when there is none.
	wakeAt atomic.Uint64
	mu     struct {
		sync.Mutex
		waiters []*waiter
	}
}

// enlist registers w to be woken when the lane has taken at items.
func (l *lane[T]) enlist(w *waiter, at uint64) {
	l.wait.mu.Lock()
	w.at = at
	l.wait.mu.waiters = append(l.wait.mu.waiters, w)
	l.wait.wakeAt.Store(min(l.wait.wakeAt.Load(), at))
	l.wait.mu.Unlock()
	// The lane may have taken its last item before it could see wakeAt; then
	// nobody else would look.
	if l.taken() >= at {
		l.wakeWaiters()
	}
}

// hurry makes w content with a single free place.
func (l *lane[T]) hurry(w *waiter) {
	l.wait.mu.Lock()
	w.at -= uint64(l.sub.opts.wakeRoom() - 1)
	at := w.at
	l.wait.wakeAt.Store(min(l.wait.wakeAt.Load(), at))
	l.wait.mu.Unlock()
	if l.taken() >= at {
		l.wakeWaiters()
	}
}

// delist takes w out if it is still there, and its token with it.
func (l *lane[T]) delist(w *waiter) {
	l.wait.mu.Lock()
	for i, other := range l.wait.mu.waiters {
		if other == w {
			l.wait.mu.waiters = append(l.wait.mu.waiters[:i], l.wait.mu.waiters[i+1:]...)
			break
		}
	}
	l.wait.mu.Unlock()
	select {
	case <-w.ready:
	default:
	}
}

// wakeWaiters wakes everybody who waits for room here. They look again, and
// whoever finds none waits again.
func (l *lane[T]) wakeWaiters() {
	l.wait.mu.Lock()
	waiters := l.wait.mu.waiters
	l.wait.mu.waiters = nil
	l.wait.wakeAt.Store(noWaiter)
	for _, w := range waiters {
		if w.edge != nil {
			w.edge.over.Store(true)
		}
		w.ready <- struct{}{} // capacity 1, and w was listed: it is empty
	}
	l.wait.mu.Unlock()
}

// cycle tells whether start waits for itself: directly, or through handlers
// that wait for the room of other lanes.
//
// Each handler stores its edge before it looks, so of those that close a cycle
// together the last one sees all of it. A walk alone could also see edges that
// never were there at one moment; so the cycle counts only if, after the whole
// of it was seen, none of its waits was over: then they all lasted at the
// moment in between, and such a cycle can't end by itself.
func cycle(start *laneNode) bool {
	var seen []*edge
	for node := start; ; {
		e := node.waits.Load()
		if e == nil || e.over.Load() {
			return false
		}
		seen = append(seen, e)
		node = e.on
		if node == start {
			break
		}
		if len(seen) > 1 && contains(seen[:len(seen)-1], e) {
			return false // a cycle, but start only waits for it
		}
	}
	for _, e := range seen {
		if e.over.Load() {
			return false
		}
	}
	return true
}

func contains(edges []*edge, e *edge) bool {
	for _, other := range edges {
		if other == e {
			return true
		}
	}
	return false
}
