package redis

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
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
	state := r.mu.topics[a.placement.Topic]
	if state == nil {
		a.first = true
		state = r.addTopicLocked(a.placement, now)
		r.t.views().subscribes(a.view)
	}
	if state.placement == a.placement {
		r.waitLocked(a, state, now)
	} else {
		a.err = fmt.Errorf("%w: it is subscribed to with %d partitions, not %d", transport.ErrInvalidTopic,
			state.placement.Partitions, a.placement.Partitions)
	}
	a.release()
}

// addTopicLocked lists a topic, and has the readers look after its channels.
func (r *subscriptions) addTopicLocked(placement router.Placement, now time.Time) *topicState {
	n := placement.Len()
	state := &topicState{placement: placement, channels: make([]*channel, 0, 2*n)}
	r.mu.topics[placement.Topic] = state
	delete(r.mu.ended, placement.Topic)
	for i := range n {
		slot := placement.Slot(i)
		event := r.eventChannelLocked(placement, i, slot)
		marks := r.mu.bySlot.watermarks(slot)
		if marks == nil {
			marks = &channel{name: wire.WatermarkChannel(slot), slot: uint16(slot), kind: watermarkChannel}
			r.addChannelLocked(marks)
		}
		state.channels = append(state.channels, event, marks)
		away := r.refLocked(event, now)
		if r.refLocked(marks, now) || away {
			r.markLocked(slot)
		}
	}
	return state
}

// eventChannelLocked returns the channel of a partition, which is listed.
func (r *subscriptions) eventChannelLocked(placement router.Placement, partition, slot int) *channel {
	name := placement.Channel(partition)
	ch := r.mu.channels[name]
	if ch == nil {
		ch = &channel{
			name: name, slot: uint16(slot), kind: eventChannel,
			topic: placement.Topic, partition: uint16(partition), partitions: uint16(placement.Partitions),
		}
		r.addChannelLocked(ch)
	}
	return ch
}

// refLocked notes that one more topic uses a channel, and reports whether it is away.
func (r *subscriptions) refLocked(ch *channel, now time.Time) bool {
	r.setRefsLocked(ch, ch.refs+1)
	if ch.unconfirmed() {
		return true
	}
	if ch.refs == 1 { // it was about to be left
		ch.start(now)
		r.markReplicasLocked(int(ch.slot))
		if r.t.nacks.requestBaseline(now, ch, nil) {
			r.t.nacks.signal()
		}
	}
	return false
}

// unconfirmed reports whether the channel is confirmed nowhere, or about to be left.
func (ch *channel) unconfirmed() bool { return ch.confirmedOn == nil || ch.unsubscribing }

// waitLocked has a Subscribe wait for the channels of its topic that are not confirmed, or whose baseline is not known yet.
func (r *subscriptions) waitLocked(a *subscribeCall, state *topicState, now time.Time) {
	a.topic = state
	a.waiters = make([]channelWaiter, len(state.channels))
	for i, ch := range state.channels {
		w := &a.waiters[i]
		w.call = a
		a.left.Add(1)
		switch {
		case ch.unconfirmed():
			a.unconfirmed++
			w.next, ch.waiting = ch.waiting, w
		case !r.t.nacks.joinBaseline(now, ch, w):
			a.release()
		}
	}
	if a.unconfirmed > 0 {
		a.next, state.waiting = state.waiting, a
	}
}

// cancel ends a Subscribe before its time. It returns nil if the channels were confirmed: the caller that cannot wait for
// publishers is subscribed all the same. Else, or if it had failed, it returns why.
func (r *subscriptions) cancel(a *subscribeCall, why error) error {
	r.lock()
	defer r.mu.Unlock()
	a.failLocked(why)
	return a.err
}

// abandon takes a topic off the list whose first Subscribe has failed.
func (r *subscriptions) abandon(a *subscribeCall) {
	r.lock()
	defer r.mu.Unlock()
	if a.first && r.mu.topics[a.placement.Topic] == a.topic {
		r.removeTopicLocked(a.topic, errAbandoned)
	}
}
