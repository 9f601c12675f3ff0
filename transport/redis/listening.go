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
	asksChannel                         // questions to one publisher of ours
	helloChannel                        // questions to all publishers
)

// control is a channel that the transport listens on for itself.
type control struct {
	kind      channelKind
	slot      int
	publisher string // of asksChannel
}

// controlled is what such a channel has beside what all have.
type controlled struct {
	publisher string    // of an asksChannel
	unwanted  time.Time // since when nobody wants it; zero: it is wanted
}

// keepControl is for how long a control channel is kept that is not wanted any more: others may have an older view of
// the cluster, and talk to us there.
const keepControl = 30 * time.Second

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

// controls returns what a process listens on: on every shard its inbox if it subscribes to anything, and where its
// publishers are asked.
func controls(snapshot *router.Snapshot, subscriber string, publishers []string) map[string]control {
	wanted := make(map[string]control)
	for _, slot := range anchors(snapshot) {
		if subscriber != "" {
			wanted[wire.InboxChannel(slot, subscriber)] = control{kind: inboxChannel, slot: slot}
		}
		for _, p := range publishers {
			wanted[wire.AskChannel(slot, p)] = control{kind: asksChannel, slot: slot, publisher: p}
		}
		if len(publishers) > 0 {
			wanted[wire.HelloChannel(slot)] = control{kind: helloChannel, slot: slot}
		}
	}
	return wanted
}

// listen makes the control channels those that are wanted. Others are left after keep.
func (r *registry) listen(now time.Time, wanted map[string]control, keep time.Duration) {
	r.lock()
	defer r.mu.Unlock()
	for name, c := range wanted {
		ch := r.mu.channels[name]
		if ch == nil {
			ch = &channel{name: name, slot: uint16(c.slot), kind: c.kind, control: &controlled{publisher: c.publisher}}
			r.listLocked(ch)
		}
		r.mu.control[name] = ch
		ch.control.unwanted = time.Time{}
		if ch.users == 0 {
			r.setUsersLocked(ch, 1)
			if ch.home == nil || ch.leaving {
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
			r.setUsersLocked(ch, 0)
			if ch.nowhere() {
				r.dropLocked(ch)
			} else {
				r.markAtLocked(ch)
			}
		}
	}
	inboxes := int32(0)
	for _, ch := range r.mu.control {
		if ch.kind == inboxChannel && ch.users > 0 {
			inboxes++
		}
	}
	r.inboxes.Store(inboxes)
}

// listLocked lists a new channel.
func (r *registry) listLocked(ch *channel) {
	r.mu.channels[ch.name] = ch
	r.mu.bySlot.add(ch)
}

// dropLocked forgets a channel that is subscribed nowhere.
func (r *registry) dropLocked(ch *channel) {
	delete(r.mu.channels, ch.name)
	r.mu.bySlot.remove(ch)
}

// post is where our inbox is confirmed: what is sent through the node on that slot can be answered there.
type post struct {
	addr string
	slot int
}

// posts returns where our inbox is confirmed, and whether that is everywhere that it is wanted.
func (r *registry) posts() (found []post, all bool) {
	r.lock()
	defer r.mu.Unlock()
	all = true
	for _, ch := range r.mu.control {
		switch {
		case ch.kind != inboxChannel || ch.users == 0:
		case ch.home == nil || ch.leaving:
			all = false
		default:
			found = append(found, post{addr: ch.home.addr, slot: int(ch.slot)})
		}
	}
	return found, all
}

// events returns the channel of that name if it carries events and somebody wants it.
func (r *registry) events(name string) *channel {
	r.lock()
	defer r.mu.Unlock()
	if ch := r.mu.channels[name]; ch != nil && ch.kind == eventChannel && ch.users > 0 {
		return ch
	}
	return nil
}

// subscribes reports whether there are topics.
func (r *registry) subscribes() bool {
	r.lock()
	defer r.mu.Unlock()
	return len(r.mu.topics) > 0
}

// channelsOf returns the channels that carry a topic's events; if it is not subscribed to, what became of it before.
func (r *registry) channelsOf(topic string) (channels []*channel, ended Ledger) {
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
