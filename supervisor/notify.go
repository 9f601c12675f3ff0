package supervisor

import (
	"sync"
	"time"
)

// HookGrace is how long OnEvent may run, after everything else has ended, to handle the last
// events. While it waits for its turn on a busy machine nothing is counted.
const HookGrace = time.Second

// hookTick is the step in which HookGrace is counted. A process that stood still for longer has
// used up one step, not the whole grace.
const hookTick = HookGrace / 10

// maxUntold bounds the events that wait for a slow OnEvent.
const maxUntold = 4096

// notifier hands events to OnEvent, one at a time and in order, on a goroutine that lives only
// while there are any. So whatever OnEvent does, nothing of the supervisor waits for it. The
// goroutine is owned by Serve, which waits for it by flush; only an OnEvent that does not return
// outlives that, and it is reported.
type notifier struct {
	hook func(Event)
	turn func(work func()) // runs work on a goroutine; nil is go, tests are slower

	mu      sync.Mutex
	queue   []Event
	lost    uint64
	active  bool          // a goroutine is at work, or will be as soon as it gets its turn
	calling bool          // it is in the hook
	quiet   chan struct{} // closed when active ends; nil if nobody waits
}

func (n *notifier) post(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) >= maxUntold {
		n.lost++
		return
	}
	n.queue = append(n.queue, e)
	if !n.active {
		n.active = true
		n.begin()
	}
}

func (n *notifier) begin() {
	if n.turn != nil {
		n.turn(n.work)
		return
	}
	go n.work()
}

func (n *notifier) work() {
	for {
		n.mu.Lock()
		n.calling = false
		if len(n.queue) == 0 {
			n.queue = nil
			n.active = false
			if n.quiet != nil {
				close(n.quiet)
				n.quiet = nil
			}
			n.mu.Unlock()
			return
		}
		e := n.queue[0]
		n.queue[0] = Event{}
		n.queue = n.queue[1:]
		e.Lost = n.lost
		n.calling = true
		n.mu.Unlock()
		n.tell(e)
	}
}

// tell calls the hook. It does not return if the hook ends the goroutine by runtime.Goexit: then
// another one goes on in its place.
func (n *notifier) tell(e Event) {
	handled := false
	defer func() {
		if handled {
			return
		}
		panicked := recover() != nil
		n.mu.Lock()
		n.lost++
		n.calling = false
		n.mu.Unlock()
		if !panicked {
			n.begin()
		}
	}()
	n.hook(e)
	handled = true
}

// flush waits until every event was handled, unless the hook runs for HookGrace meanwhile. It
// reports whether they were.
func (n *notifier) flush() bool {
	n.mu.Lock()
	if !n.active {
		n.mu.Unlock()
		return true
	}
	if n.quiet == nil {
		n.quiet = make(chan struct{})
	}
	quiet := n.quiet
	n.mu.Unlock()
	timer := time.NewTimer(hookTick)
	defer timer.Stop()
	for left := HookGrace; ; timer.Reset(hookTick) {
		select {
		case <-quiet:
			return true
		case <-timer.C:
		}
		n.mu.Lock()
		active, calling := n.active, n.calling
		n.mu.Unlock()
		if !active { // both had come true
			return true
		}
		if calling {
			left -= hookTick
		}
		if left <= 0 {
			return false
		}
	}
}
