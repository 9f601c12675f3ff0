package supervisor

import (
	"sync"
	"time"
)

// HookGrace is how long Serve waits, after everything else, for OnEvent to handle
// the last events.
const HookGrace = time.Second

// maxUntold bounds the events that wait for a slow OnEvent.
const maxUntold = 4096

// notifier hands events to OnEvent, one at a time and in order, on a goroutine
// that lives only while there are any. So whatever OnEvent does, nothing of the
// supervisor waits for it. The goroutine is owned by Serve, which waits for it by
// flush; only an OnEvent that does not return outlives that, and it is reported.
type notifier struct {
	hook func(Event)

	mu     sync.Mutex
	queue  []Event
	lost   uint64
	active bool          // a goroutine is at work
	quiet  chan struct{} // closed when active ends; nil if nobody waits
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
		go n.work()
	}
}

func (n *notifier) work() {
	for {
		n.mu.Lock()
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
		n.mu.Unlock()
		n.tell(e)
	}
}

// tell calls the hook. It does not return if the hook ends the goroutine by
// runtime.Goexit: then another one goes on in its place.
func (n *notifier) tell(e Event) {
	handled := false
	defer func() {
		if handled {
			return
		}
		panicked := recover() != nil
		n.mu.Lock()
		n.lost++
		n.mu.Unlock()
		if !panicked {
			go n.work()
		}
	}()
	n.hook(e)
	handled = true
}

// flush waits until every event was handled, for at most HookGrace. It reports
// whether that is so.
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
	timer := time.NewTimer(HookGrace)
	defer timer.Stop()
	select {
	case <-quiet:
		return true
	case <-timer.C:
		return false
	}
}
