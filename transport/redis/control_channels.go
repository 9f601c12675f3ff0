package redis

import (
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// channelKind is what a channel carries.
type channelKind uint8

const (
	eventChannel     channelKind = iota // a partition of a topic
	watermarkChannel                    // the watermarks of a slot
	inboxChannel                        // answers to us
	nackChannel                         // questions to one publisher of ours
	baselineChannel                     // questions to all publishers
)

// controlChannel is a channel that the transport listens on for itself.
type controlChannel struct {
	kind      channelKind
	slot      int
	publisher string // of nackChannel
}

// controlState is what such a channel has beside what all have.
type controlState struct {
	publisher string    // of an nackChannel
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

// controlChannels returns what a process listens on: on every shard its inbox if it subscribes to anything, and where its
// publishers are asked.
func controlChannels(snapshot *router.Snapshot, subscriber string, publishers []string) map[string]controlChannel {
	wanted := make(map[string]controlChannel)
	for _, slot := range anchors(snapshot) {
		if subscriber != "" {
			wanted[wire.InboxChannel(slot, subscriber)] = controlChannel{kind: inboxChannel, slot: slot}
		}
		for _, p := range publishers {
			wanted[wire.AskChannel(slot, p)] = controlChannel{kind: nackChannel, slot: slot, publisher: p}
		}
		if len(publishers) > 0 {
			wanted[wire.HelloChannel(slot)] = controlChannel{kind: baselineChannel, slot: slot}
		}
	}
	return wanted
}

// setControlChannels makes the control channels those that are wanted. Others are left after keep.
func (r *subscriptions) setControlChannels(now time.Time, wanted map[string]controlChannel, keep time.Duration) {
	r.lock()
	defer r.mu.Unlock()
	for name, c := range wanted {
		ch := r.mu.channels[name]
		if ch == nil {
			ch = &channel{name: name, slot: uint16(c.slot), kind: c.kind, control: &controlState{publisher: c.publisher}}
			r.addChannelLocked(ch)
		}
		r.mu.control[name] = ch
		ch.control.unwanted = time.Time{}
		if ch.refs == 0 {
			r.setRefsLocked(ch, 1)
			if ch.confirmedOn == nil || ch.unsubscribing {
				r.markLocked(c.slot)
			}
		}
	}
	for name, ch := range r.mu.control {
		switch _, keeps := wanted[name]; {
		case keeps:
		case ch.control.unwanted.IsZero() && keep > 0:
			ch.control.unwanted = now
		case ch.control.unwanted.IsZero() || now.Sub(ch.control.unwanted) >= keep:
			delete(r.mu.control, name)
			r.setRefsLocked(ch, 0)
			if ch.unsubscribed() {
				r.removeChannelLocked(ch)
			} else {
				r.markAtLocked(ch)
			}
		}
	}
	inboxes := int32(0)
	for _, ch := range r.mu.control {
		if ch.kind == inboxChannel && ch.refs > 0 {
			inboxes++
		}
	}
	r.inboxes.Store(inboxes)
}

// addChannelLocked lists a new channel.
func (r *subscriptions) addChannelLocked(ch *channel) {
	r.mu.channels[ch.name] = ch
	r.mu.bySlot.add(ch)
}

// removeChannelLocked forgets a channel that is subscribed nowhere.
func (r *subscriptions) removeChannelLocked(ch *channel) {
	delete(r.mu.channels, ch.name)
	r.mu.bySlot.remove(ch)
}

// replyPath is where our inbox is confirmed: what is sent through the node on that slot can be answered there.
type replyPath struct {
	addr string
	slot int
}

// replyPaths returns where our inbox is confirmed, and whether that is everywhere that it is wanted.
func (r *subscriptions) replyPaths() (found []replyPath, all bool) {
	r.lock()
	defer r.mu.Unlock()
	all = true
	for _, ch := range r.mu.control {
		switch {
		case ch.kind != inboxChannel || ch.refs == 0:
		case ch.confirmedOn == nil || ch.unsubscribing:
			all = false
		default:
			found = append(found, replyPath{addr: ch.confirmedOn.addr, slot: int(ch.slot)})
		}
	}
	return found, all
}

// eventChannel returns the channel of that name if it carries events and somebody wants it.
func (r *subscriptions) eventChannel(name string) *channel {
	r.lock()
	defer r.mu.Unlock()
	if ch := r.mu.channels[name]; ch != nil && ch.kind == eventChannel && ch.refs > 0 {
		return ch
	}
	return nil
}

// hasTopics reports whether there are topics.
func (r *subscriptions) hasTopics() bool {
	r.lock()
	defer r.mu.Unlock()
	return len(r.mu.topics) > 0
}

// channelsOf returns the channels that carry a topic's events; if it is not subscribed to, what became of it before.
func (r *subscriptions) channelsOf(topic string) (channels []*channel, ended Ledger) {
	r.lock()
	defer r.mu.Unlock()
	state := r.mu.topics[topic]
	if state == nil {
		return nil, r.mu.ended[topic]
	}
	for _, ch := range state.channels {
		if ch.kind == eventChannel {
			channels = append(channels, ch)
		}
	}
	return channels, Ledger{}
}
