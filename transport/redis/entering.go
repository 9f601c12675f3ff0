package redis

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// Thousands of Subscribe calls may come at once, and the readers take in confirmations meanwhile. If each took the
// registry's lock, most of the time would go into handing it from one to the other. So they only line up, without a lock,
// and whoever has the registry's takes in all that have come. The first in line sees to it that somebody does.

// enter has a Subscribe taken in. It waits for the lock only if nobody else is about to.
func (r *registry) enter(a *await) {
	for {
		first := r.entering.Load()
		a.next = first
		if !r.entering.CompareAndSwap(first, a) {
			continue
		}
		if first == nil {
			r.takeIn()
		}
		return
	}
}

func (r *registry) takeIn() {
	r.lock()
	r.mu.Unlock()
}

// lock takes mu, and takes in the Subscribe calls that are in line: whoever looks at what is wanted sees them.
func (r *registry) lock() {
	r.mu.Lock()
	if r.entering.Load() != nil {
		r.takeInLocked()
	}
}

func (r *registry) takeInLocked() {
	var line *await // the first first
	for a := r.entering.Swap(nil); a != nil; {
		next := a.next
		a.next, line = line, a
		a = next
	}
	now := time.Now()
	for line != nil {
		a := line
		line, a.next = a.next, nil
		r.takeInOneLocked(a, now)
	}
}

func (r *registry) takeInOneLocked(a *await, now time.Time) {
	state := r.mu.topics[a.placement.Topic]
	if state == nil {
		a.mine = true
		state = r.listTopicLocked(a.placement, now)
		r.t.views().subscribes(a.view)
	}
	if state.placement == a.placement {
		r.waitLocked(a, state, now)
	} else {
		a.err = fmt.Errorf("%w: it is subscribed to with %d partitions, not %d", transport.ErrInvalidTopic,
			state.placement.Partitions, a.placement.Partitions)
	}
	a.settle()
}

// listTopicLocked lists a topic, and has the readers look after its channels.
func (r *registry) listTopicLocked(placement router.Placement, now time.Time) *topicState {
	n := placement.Len()
	state := &topicState{placement: placement, channels: make([]*channel, 0, 2*n)}
	r.mu.topics[placement.Topic] = state
	delete(r.mu.ended, placement.Topic)
	for i := range n {
		slot := placement.Slot(i)
		event := r.eventsLocked(placement, i, slot)
		marks := r.mu.bySlot.watermarks(slot)
		if marks == nil {
			marks = &channel{name: wire.WatermarkChannel(slot), slot: uint16(slot), kind: watermarkChannel}
			r.listLocked(marks)
		}
		state.channels = append(state.channels, event, marks)
		away := r.useLocked(event, now)
		if r.useLocked(marks, now) || away {
			r.markLocked(slot)
		}
	}
	return state
}

// eventsLocked returns the channel of a partition, which is listed.
func (r *registry) eventsLocked(placement router.Placement, partition, slot int) *channel {
	name := placement.Channel(partition)
	ch := r.mu.channels[name]
	if ch == nil {
		ch = &channel{
			name: name, slot: uint16(slot), kind: eventChannel,
			topic: placement.Topic, partition: uint16(partition), partitions: uint16(placement.Partitions),
		}
		r.listLocked(ch)
	}
	return ch
}

// useLocked notes that one more topic uses a channel, and reports whether it is away.
func (r *registry) useLocked(ch *channel, now time.Time) bool {
	r.setUsersLocked(ch, ch.users+1)
	if ch.away() {
		return true
	}
	if ch.users == 1 { // it was about to be left
		ch.begin(now)
		r.markStandbysLocked(int(ch.slot))
		if r.t.repairs.greet(now, ch, nil) {
			r.t.repairs.signal()
		}
	}
	return false
}

// away reports whether the channel is confirmed nowhere, or about to be left.
func (ch *channel) away() bool { return ch.home == nil || ch.leaving }

// waitLocked has a Subscribe wait for the channels of its topic that are not confirmed, or not greeted.
func (r *registry) waitLocked(a *await, state *topicState, now time.Time) {
	a.topic = state
	a.waiters = make([]waiter, len(state.channels))
	for i, ch := range state.channels {
		w := &a.waiters[i]
		w.await = a
		a.left.Add(1)
		switch {
		case ch.away():
			a.open++
			w.next, ch.waiting = ch.waiting, w
		case !r.t.repairs.joins(now, ch, w):
			a.settle()
		}
	}
	if a.open > 0 {
		a.next, state.waiting = state.waiting, a
	}
}

// cancel ends a Subscribe before its time. It returns nil if the channels were confirmed: the caller that cannot wait for
// publishers is subscribed all the same. Else, or if it had failed, it returns why.
func (r *registry) cancel(a *await, why error) error {
	r.lock()
	defer r.mu.Unlock()
	a.failLocked(why)
	return a.err
}

// abandon takes a topic off the list whose first Subscribe has failed.
func (r *registry) abandon(a *await) {
	r.lock()
	defer r.mu.Unlock()
	if a.mine && r.mu.topics[a.placement.Topic] == a.topic {
		r.unwantLocked(a.topic, errAbandoned)
	}
}
