package redis

import (
	"sync/atomic"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// subscribeCall is one Subscribe, which waits for channels: each until it is confirmed and, with Repair, until publishers have
// said where they stand. Thousands do at once, so each is woken once, for all that it waits for.
type subscribeCall struct {
	placement router.Placement // of what it wants
	view      transport.Topic  // as the caller knows it
	done      chan struct{}
	err       error // set before done is closed, and never after

	next *subscribeCall // subscriptions.subscribeQueue's, then of topic.waiting

	left atomic.Int32 // what it waits for still, and 1 until it was taken in

	// subscriptions.mu guards what follows.

	unconfirmed int32           // channels that are not confirmed
	first       bool            // it was the first to want the topic
	topic       *topicState     // from when it was taken in
	waiters     []channelWaiter // one for each of the topic's channels
}

func newSubscribeCall(placement router.Placement) *subscribeCall {
	a := &subscribeCall{placement: placement, done: make(chan struct{})}
	a.left.Store(1)
	return a
}

// channelWaiter is a Subscribe in the list of those that wait for one channel.
type channelWaiter struct {
	call *subscribeCall
	next *channelWaiter
}

// joinWaiters puts few, which is gone through, before list.
func joinWaiters(few, list *channelWaiter) *channelWaiter {
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

// releaseWaiters ends the waiting of a list for its channel.
func releaseWaiters(list *channelWaiter) {
	for list != nil {
		w := list
		list, w.next = w.next, nil
		w.call.release()
	}
}

func (a *subscribeCall) release() {
	if a.left.Add(-1) == 0 {
		close(a.done)
	}
}

// confirmedLocked notes that one of the channels that were not confirmed is.
func (a *subscribeCall) confirmedLocked() {
	if a.unconfirmed--; a.unconfirmed == 0 {
		a.topic.dismissLocked(a)
	}
}

// failLocked ends the waiting if it is for a confirmation still. What was not confirmed is never settled then, so nobody
// else closes done.
func (a *subscribeCall) failLocked(err error) {
	if a.unconfirmed == 0 {
		return
	}
	a.unconfirmed, a.err = 0, err
	for i, ch := range a.topic.channels {
		ch.dismissLocked(&a.waiters[i])
	}
	a.topic.dismissLocked(a)
	close(a.done)
}

// failLocked ends the waiting of every Subscribe of the topic.
func (s *topicState) failLocked(err error) {
	for s.waiting != nil {
		s.waiting.failLocked(err)
	}
}

// dismissLocked takes a Subscribe off the list.
func (s *topicState) dismissLocked(a *subscribeCall) {
	for at := &s.waiting; *at != nil; at = &(*at).next {
		if *at == a {
			*at, a.next = a.next, nil
			return
		}
	}
}

// failLocked ends the waiting of every Subscribe that waits for the channel.
func (ch *channel) failLocked(err error) {
	for ch.waiting != nil {
		ch.waiting.call.failLocked(err)
	}
}

// dismissLocked takes a waiter off the list if it is there.
func (ch *channel) dismissLocked(w *channelWaiter) {
	for at := &ch.waiting; *at != nil; at = &(*at).next {
		if *at == w {
			*at, w.next = w.next, nil
			return
		}
	}
}
