package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus/internal/waitgraph"
	"github.com/shardbus/shardbus/internal/signal"
)

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
		if l := p.lane(); l != nil && l.core == c {
			p.admitted = true
			return nil
		}
	}
	return ErrClosed
}

// refuses tells whether the state of the bus or of the topic calls for admit. The lock is held.
func (fan *fanout[T]) refuses(p *caller) bool { return fan.mu.closed || p.refusedBy(fan.core) }

// admit says whether a publisher that was refused may publish all the same. The lock is not held.
func (fan *fanout[T]) admit(p *caller) error {
	fan.mu.Lock()
	closed := fan.mu.closed
	fan.mu.Unlock()
	if closed {
		return ErrTopicClosed
	}
	return p.admit(fan.core)
}

// awaitRoom waits until full, a lane that was chosen for an event with that key
// hash, or another lane of the target that could take it, may have room; a target
// that is nil has no other. It is called with fan.mu held and returns with it held;
// what it saw before is stale then. The error is complete.
func (fan *fanout[T]) awaitRoom(p *caller, full *lane[T], of target[T], hash uint64) error {
	s, c := full.cfg, fan.core
	fail := func(err error, detail string) error {
		return &Error{Op: "publish", Topic: fan.info.name, Subscription: s.name, Err: err, Detail: detail}
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
	lanes := []*lane[T]{full}
	if hash == 0 && of != nil {
		lanes = of.owners(0) // choose has made them all when it found none with room
	}
	if p.waits {
		w.wait = waitgraph.ForRoom(len(lanes))
		for _, l := range lanes {
			w.wait.Add(&l.node.Node, l.roomAt(1))
		}
	}
	for _, l := range lanes {
		l.addWaiter(w, l.roomAt(l.cfg.opts.wakeRoom()), l.roomAt(1))
	}
	fan.mu.Unlock()

	err := func() error {
		stop := c.draining
		if p.admitted || p.from != nil && p.from.core == c {
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
	w.next, fan.mu.free = fan.mu.free, w
	return err
}

// waiterLocked takes a waiter from the free list or makes one.
func (fan *fanout[T]) waiterLocked() *waiter {
	if w := fan.mu.free; w != nil {
		fan.mu.free, w.next = w.next, nil
		return w
	}
	w := &waiter{ready: signal.NewWakeup(), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}
