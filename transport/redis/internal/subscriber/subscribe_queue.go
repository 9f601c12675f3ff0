package subscriber

import (
	"errors"
	"time"
)

// Thousands of Subscribe calls may come at once, and the readers take in confirmations meanwhile. If each took the
// subscriptions' lock, most of the time would go into handing it from one to the other. So they only line up, without a lock,
// and whoever has the subscriptions' takes in all that have come. The first in line sees to it that somebody does.

// enqueue has a Subscribe taken in. It waits for the lock only if nobody else is about to.
func (r *subscriptions) enqueue(a *subscribeCall) {
	for {
		first := r.subscribeQueue.Load()
		a.next = first
		if !r.subscribeQueue.CompareAndSwap(first, a) {
			continue
		}
		if first == nil {
			r.serveQueue()
		}
		return
	}
}

func (r *subscriptions) serveQueue() {
	r.lock()
	r.mu.Unlock()
}

// lock takes mu, and takes in the Subscribe calls that are in line: whoever looks at what is wanted sees them.
func (r *subscriptions) lock() {
	r.mu.Lock()
	if r.subscribeQueue.Load() != nil {
		r.serveQueueLocked()
	}
}

func (r *subscriptions) serveQueueLocked() {
	var line *subscribeCall // the first first
	for a := r.subscribeQueue.Swap(nil); a != nil; {
		next := a.next
		a.next, line = line, a
		a = next
	}
	now := time.Now()
	for line != nil {
		a := line
		line, a.next = a.next, nil
		r.serveCallLocked(a, now)
	}
}

func (r *subscriptions) serveCallLocked(a *subscribeCall, now time.Time) {
	if topic := a.Placement().Topic; r.mu.core.Topic(topic) == nil {
		delete(r.mu.ended, topic)
		r.s.views().subscribes(a.view)
	}
	r.mu.core.Subscribe(&a.Call, now)
}

// cancel ends a Subscribe before its time. It returns nil if the channels were confirmed: the caller that cannot wait for
// publishers is subscribed all the same. Else, or if it had failed, it returns why.
func (r *subscriptions) cancel(a *subscribeCall, why error) error {
	r.lock()
	defer r.mu.Unlock()
	return r.mu.core.Cancel(&a.Call, why)
}

// abandon takes a topic off the list whose first Subscribe has failed.
func (r *subscriptions) abandon(a *subscribeCall) {
	r.lock()
	defer r.mu.Unlock()
	if unwanted, was := r.mu.core.Abandon(&a.Call, errAbandoned); was {
		r.removedLocked(a.Placement().Topic, unwanted)
	}
}

// errAbandoned ends the waiting of those who wait for a subscription together with the caller who began it.
var errAbandoned = errors.New("redis: the caller that subscribed has left")
