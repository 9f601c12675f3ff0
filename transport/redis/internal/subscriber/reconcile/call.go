package reconcile

import (
	"sync/atomic"

	"github.com/shardbus/shardbus/router"
)

// Call is one Subscribe. It waits for channels: each until it is confirmed and, if Effects say so, until somebody
// releases it after that. Thousands do at once, so each is woken once, for all that it waits for.
type Call struct {
	placement router.Placement
	done      chan struct{}
	err       error // set before done is closed, and never after

	left atomic.Int32 // how many channels it waits for still, and 1 until Subscribe has taken it in

	next        *Call // of Topic.waiting
	unconfirmed int32 // channels that are not confirmed
	first       bool  // it was the first to want the topic
	topic       *Topic
	waiters     []Waiter // one for each of the topic's channels
}

// Init sets what the call wants. It is to be called once, before [Reconciler.Subscribe].
func (c *Call) Init(placement router.Placement) {
	c.placement, c.done = placement, make(chan struct{})
	c.left.Store(1)
}

// Placement returns what the call wants.
func (c *Call) Placement() router.Placement { return c.placement }

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.done }

// Err returns how the call ended. Done must be closed.
func (c *Call) Err() error { return c.err }

// Waiter is a Subscribe in the list of those that wait for one channel.
type Waiter struct {
	call *Call
	next *Waiter
}

// JoinWaiters puts few, which is gone through, before list.
func JoinWaiters(few, list *Waiter) *Waiter {
	if few == nil {
		return list
	}
	last := few
	for last.next != nil {
		last = last.next
	}
	last.next = list
	return few
}

// Release ends the waiting of a list for its channel. It may be called concurrently with everything else.
func Release(list *Waiter) {
	for list != nil {
		w := list
		list, w.next = w.next, nil
		w.call.release()
	}
}

func (c *Call) release() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// confirmed notes that one of the channels that were not confirmed is.
func (c *Call) confirmed() {
	if c.unconfirmed--; c.unconfirmed == 0 {
		c.topic.removeCall(c)
	}
}

// fail ends the waiting if it is for a confirmation still. What was not confirmed is never released then, so nobody
// else closes done.
func (c *Call) fail(err error) {
	if c.unconfirmed == 0 {
		return
	}
	c.unconfirmed, c.err = 0, err
	for i, ch := range c.topic.channels {
		ch.removeWaiter(&c.waiters[i])
	}
	c.topic.removeCall(c)
	close(c.done)
}

// fail ends the waiting of every Subscribe of the topic.
func (t *Topic) fail(err error) {
	for t.waiting != nil {
		t.waiting.fail(err)
	}
}

// removeCall takes a Subscribe off the list.
func (t *Topic) removeCall(c *Call) {
	for at := &t.waiting; *at != nil; at = &(*at).next {
		if *at == c {
			*at, c.next = c.next, nil
			return
		}
	}
}
