package subscriber

import (
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// controlChannel is a channel that the transport listens on for itself.
type controlChannel struct {
	kind      reconcile.Kind
	class     connkey.Class
	slot      int
	publisher string // of reconcile.Nack
}

// controlState is what such a channel has beside what all have.
type controlState struct {
	publisher string    // of an reconcile.Nack
	unwanted  time.Time // since when nobody wants it; zero: it is wanted
}

// controlGrace is for how long a control channel is kept that is not wanted any more: others may have an older view of
// the cluster, and talk to us there.
const controlGrace = 30 * time.Second

// anchors returns, for each primary with slots, the lowest of them: the control channels of a shard are there.
func anchors(snapshot *router.Snapshot) []int {
	var slots []int
	for _, shard := range snapshot.Shards() {
		lowest := router.Slots
		for _, r := range shard.Slots {
			lowest = min(lowest, r.From)
		}
		if lowest < router.Slots {
			slots = append(slots, lowest)
		}
	}
	return slots
}

// controlChannels returns what a process listens on: on every shard an inbox for each class that it subscribes to, and
// where its publishers are asked. inboxes are the names of its inboxes, by class; an empty one is not wanted.
func controlChannels(snapshot *router.Snapshot, inboxes, publishers []string) map[string]controlChannel {
	wanted := make(map[string]controlChannel)
	for _, slot := range anchors(snapshot) {
		for class, id := range inboxes {
			if id != "" {
				wanted[wire.InboxChannel(slot, id)] = controlChannel{kind: reconcile.Inbox, class: connkey.Class(class), slot: slot}
			}
		}
		for _, p := range publishers {
			wanted[wire.NackChannel(slot, p)] = controlChannel{kind: reconcile.Nack, slot: slot, publisher: p}
		}
		if len(publishers) > 0 {
			wanted[wire.BaselineChannel(slot)] = controlChannel{kind: reconcile.Baseline, slot: slot}
		}
	}
	return wanted
}

// setControlChannels makes the control channels those that are wanted. Others are left after keep.
func (r *subscriptions) setControlChannels(now time.Time, wanted map[string]controlChannel, keep time.Duration) {
	r.lock()
	defer r.mu.Unlock()
	for name, c := range wanted {
		ch := r.mu.control[name]
		if ch == nil {
			ch = r.controlChannelLocked(name, c)
			r.mu.control[name] = ch
		}
		ch.control.unwanted = time.Time{}
		r.mu.core.Want(&ch.Channel)
	}
	inboxes := make([]int32, len(r.inboxes))
	for name, ch := range r.mu.control {
		switch _, keeps := wanted[name]; {
		case keeps:
		case ch.control.unwanted.IsZero() && keep > 0:
			ch.control.unwanted = now
		case ch.control.unwanted.IsZero() || now.Sub(ch.control.unwanted) >= keep:
			delete(r.mu.control, name)
			r.mu.core.Unwant(&ch.Channel)
			continue
		}
		if ch.Kind() == reconcile.Inbox {
			inboxes[ch.Class()]++
		}
	}
	for class, n := range inboxes {
		r.inboxes[class].Store(n)
	}
}

// controlChannelLocked returns the channel, which may be about to be unsubscribed.
func (r *subscriptions) controlChannelLocked(name string, c controlChannel) *channel {
	key := reconcile.ChannelKey{Name: name, Class: c.class}
	if ch := r.mu.core.Channel(key); ch != nil {
		return channelOf(ch)
	}
	ch := &channel{control: &controlState{publisher: c.publisher}}
	ch.Init(ch, c.kind, key, c.slot)
	return ch
}

// replyPath is where our inbox is confirmed: what is sent through the node on that slot can be answered there.
type replyPath struct {
	connkey.Key
	slot int
}

// replyPaths returns where our inbox of a class is confirmed.
func (r *subscriptions) replyPaths(class connkey.Class) (found []replyPath) {
	r.lock()
	defer r.mu.Unlock()
	for _, ch := range r.mu.control {
		if ch.Kind() != reconcile.Inbox || ch.Class() != class {
			continue
		}
		if on := ch.ConfirmedOn(); on != nil {
			found = append(found, replyPath{Key: on.Key, slot: ch.Slot()})
		}
	}
	return found
}
