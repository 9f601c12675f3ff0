package bus

import (
	"context"
	"fmt"
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

// batchWakeDelay is how long a blocked publisher waits for half the mailbox to
// drain before it takes the first place that falls free. Waking once for many
// places saves a switch of goroutines an event while handlers are fast; with
// slow ones this bound keeps a publisher from idling beside free places.
const batchWakeDelay = time.Millisecond

// caller is one call of Publish: what it needs to know of its caller, found
// out only when needed, because a context's Value is user code.
type caller struct {
	ctx      context.Context
	known    bool
	from     *laneNode // the lane whose handler's context it has, or nil
	waits    bool      // it is on the goroutine of caller's handler
	admitted bool      // may publish although the bus shuts down
}

func (p *caller) lane() *laneNode {
	if !p.known {
		p.from, p.known = callerLane(p.ctx), true
		p.waits = p.from != nil && p.from.runsHere()
	}
	return p.from
}

// refusedBy tells whether c's state calls for admit.
func (p *caller) refusedBy(c *core) bool {
	s := c.state.Load()
	return s != stateOpen && (s == stateClosed || !p.admitted)
}

// admit says whether this publisher may publish on a bus in its present state: from
// outside only while it is open, a handler of it until it is closed.
func (p *caller) admit(c *core) error {
	switch c.state.Load() {
	case stateOpen:
		return nil
	case stateHeld:
		return ErrNotStarted
	case stateDraining:
		if l := p.lane(); l != nil && &l.sub.bus.core == c {
			p.admitted = true
			return nil
		}
	}
	return ErrClosed
}

// waiter is a publisher that waits for room.
type waiter struct {
	ready signal.Wakeup
	timer *time.Timer
	wait  *waitgraph.Wait // not nil when a handler waits
}

// awaitRoom waits until full, a lane that was chosen for an event with that key
// hash, may have room. It is called with in.mu held and returns with it held;
// what it saw before is stale then. The error is complete.
func (fan *fanout[T]) awaitRoom(p *caller, full *lane[T], hash uint64) error {
	s, c := full.sub, fan.core
	fail := func(err error, detail string) error {
		return &Error{Op: "publish", Topic: fan.topic.info.name, Subscription: s.name, Err: err, Detail: detail}
	}
	if s.opts.policy == Fail {
		return fail(ErrMailboxFull, fmt.Sprintf("%d events wait; the event entered no mailbox", s.opts.capacity))
	}
	if p.ctx == nil {
		return fail(ErrNilContext, "its mailbox is full, and nothing bounds the wait; the event entered no mailbox")
	}
	if !p.known {
		// Who asks may be a handler: ask outside the lock, then look again.
		fan.mu.Unlock()
		p.lane()
		fan.mu.Lock()
		return nil
	}
	w := fan.waiterLocked()
	lanes := s.candidates(full, hash)
	if p.waits {
		w.wait = waitgraph.ForRoom(len(lanes))
		for _, l := range lanes {
			w.wait.Add(&l.node.Node, l.roomAt(1))
		}
	}
	for _, l := range lanes {
		l.addWaiter(w, l.roomAt(l.sub.opts.wakeRoom()), l.roomAt(1))
	}
	fan.mu.Unlock()

	err := func() error {
		stop := c.draining
		if p.admitted || p.from != nil && &p.from.sub.bus.core == c {
			stop = c.closed
		}
		if w.wait != nil {
			p.from.Begin(w.wait)
			defer p.from.Finish()
			if p.from.Deadlocked() {
				return fail(ErrWouldDeadlock, "its handlers wait, directly or through others, for the one that publishes")
			}
		}
		w.timer.Reset(batchWakeDelay)
		defer w.timer.Stop()
		for {
			select {
			case <-w.ready:
				return nil
			case <-w.timer.C:
				for _, l := range lanes {
					l.acceptOnePlace(w)
				}
			case <-p.ctx.Done():
				return fail(causeOf(p.ctx), fmt.Sprintf("its mailbox of %d stayed full; the event entered no mailbox", s.opts.capacity))
			case <-stop:
				return fail(ErrClosed, "the bus shut down while its mailbox was full")
			}
		}
	}()
	for _, l := range lanes {
		l.removeWaiter(w)
	}
	w.ready.Clear() // it may have come too late
	w.wait = nil
	fan.mu.Lock()
	fan.mu.free = append(fan.mu.free, w)
	return err
}

// waiterLocked takes a waiter from the free list or makes one.
func (fan *fanout[T]) waiterLocked() *waiter {
	if n := len(fan.mu.free); n > 0 {
		w := fan.mu.free[n-1]
		fan.mu.free = fan.mu.free[:n-1]
		return w
	}
	w := &waiter{ready: signal.NewWakeup(), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
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

// wakeWaiters wakes everybody who waits for room here. They look again, and
// whoever finds none waits again.
func (l *lane[T]) wakeWaiters() {
	l.wait.mu.Lock()
	if l.wait.mu.tell {
		l.wait.mu.tell = false
		defer l.sub.bus.slow.NoteStart()
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
