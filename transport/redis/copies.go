package redis

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// With Config.Standby a channel is subscribed at every node of its shard: at its home, which is the primary, as always,
// and at the replicas, where copies of the same events arrive over the cluster bus. The tracker takes a number from
// whichever way it comes first. When a replica is promoted, what is subscribed there becomes the home.

// copyState is what is known of a subscription beside the home.
type copyState uint8

const (
	copyAsked   copyState = iota // SSUBSCRIBE is on its way
	copyListed                   // it is confirmed
	copyLeaving                  // SUNSUBSCRIBE is on its way
)

// copied is a subscription beside the home. A channel has as many as its shard has replicas, so a list will do; there are
// thousands of channels, and a map takes ten times as much.
type copied struct {
	feed  *feed
	next  *copied
	state copyState
}

// copyOn returns the copy on f; nil if there is none.
func (ch *channel) copyOn(f *feed) *copied {
	c := ch.copies
	for c != nil && c.feed != f {
		c = c.next
	}
	return c
}

// copyAt notes what is known of the copy on f.
func (ch *channel) copyAt(f *feed, state copyState) {
	if c := ch.copyOn(f); c != nil {
		c.state = state
		return
	}
	ch.copies = &copied{feed: f, next: ch.copies, state: state}
}

// dropCopies forgets the copies that are gone.
func (ch *channel) dropCopies(gone func(f *feed) bool) {
	for at := &ch.copies; *at != nil; {
		if c := *at; gone(c.feed) {
			*at = c.next
		} else {
			at = &c.next
		}
	}
}

// dropCopy forgets the copy on f.
func (ch *channel) dropCopy(f *feed) {
	if ch.copies != nil {
		ch.dropCopies(func(of *feed) bool { return of == f })
	}
}

// standbys returns the addresses of the replicas, by their primary's; nil without Config.Standby.
func (t *topology) standbys() map[string][]string {
	if !t.cfg.Standby {
		return nil
	}
	found := make(map[string][]string)
	for _, shard := range t.snapshot.Load().Shards() {
		for _, r := range shard.Replicas {
			found[shard.Primary.Addr] = append(found[shard.Primary.Addr], r.Addr)
		}
	}
	return found
}

// nowhere reports whether no connection has the channel, or will.
func (ch *channel) nowhere() bool { return ch.home == nil && ch.asked == nil && ch.copies == nil }

// standsByLocked reports whether a node should have copies of a slot's channels.
func (r *registry) standsByLocked(addr string, slot int) bool {
	return r.mu.standbys != nil && slices.Contains(r.mu.standbys[r.topology.owner(slot)], addr)
}

// markStandbysLocked gives a slot to the readers at the replicas of its shard.
func (r *registry) markStandbysLocked(slot int) {
	if r.mu.standbys == nil {
		return
	}
	for _, addr := range r.mu.standbys[r.topology.owner(slot)] {
		r.markForLocked(addr, slot)
	}
}

// copyTaskLocked adds what f has to do for copies of a channel.
func (r *registry) copyTaskLocked(ch *channel, f *feed, todo *task) {
	if r.mu.standbys == nil || ch.home == f || ch.asked == f {
		return
	}
	c := ch.copyOn(f)
	switch {
	case ch.users > 0 && c == nil && (ch.kind == eventChannel || ch.kind == watermarkChannel) && r.standsByLocked(f.addr, todo.slot):
		ch.copyAt(f, copyAsked)
		todo.enter = append(todo.enter, ch.name)
	case ch.users == 0 && c != nil && c.state == copyListed:
		ch.copyAt(f, copyLeaving)
		todo.leave = append(todo.leave, ch.name)
	}
}

// copiedLocked notes that a channel is subscribed on f, if that is not its home.
func (r *registry) copiedLocked(ch *channel, f *feed) bool {
	if r.mu.standbys == nil || ch.asked == f || r.ownerLocked(int(ch.slot)) == f.addr {
		return false
	}
	if ch.home == f {
		return true
	}
	ch.copyAt(f, copyListed)
	if ch.users == 0 {
		r.markForLocked(f.addr, int(ch.slot))
	}
	return true
}

// settleAtLocked makes f, where a channel is confirmed, its home. What was the home goes on as a copy.
func (r *registry) settleAtLocked(ch *channel, f *feed) {
	if old := ch.home; r.mu.standbys != nil && old != nil && old != f {
		ch.copyAt(old, copyListed)
	}
	ch.dropCopy(f)
	ch.leaving = false
	r.setHomeLocked(ch, f)
	ch.own.Store(f)
}

// promoteLocked makes a copy that is at the slot's owner the home, and forgets those at nodes that do not stand by any
// more: before 7.2.2 a replica that left the shard keeps the subscription listed, and hears nothing.
func (r *registry) promoteLocked(ch *channel, owner string) {
	for c := ch.copies; c != nil; c = c.next {
		if c.feed.addr == owner && c.state == copyListed && (ch.home == nil || ch.home.addr != owner) {
			ch.moved = transport.Unknown
			r.settleAtLocked(ch, c.feed)
			if ch.users > 0 {
				r.arrivedLocked(ch, time.Now())
			}
			break
		}
	}
	ch.dropCopies(func(f *feed) bool { return f.addr != owner && !r.standsByLocked(f.addr, int(ch.slot)) })
	if ch.users == 0 && ch.nowhere() {
		r.dropLocked(ch)
	}
}

// loseCopyLocked notes that a channel is not subscribed on f any more, if a copy of it was.
func (r *registry) loseCopyLocked(ch *channel, f *feed) {
	if ch.copyOn(f) == nil {
		return
	}
	ch.dropCopy(f)
	switch {
	case ch.users > 0:
		r.markForLocked(f.addr, int(ch.slot))
	case ch.nowhere():
		r.dropLocked(ch)
	}
}

// refuseCopyLocked notes that SSUBSCRIBE of a copy on f failed. The slot is to be marked again.
func (r *registry) refuseCopyLocked(ch *channel, f *feed) {
	if c := ch.copyOn(f); c != nil && c.state == copyAsked {
		ch.dropCopy(f)
		if ch.users == 0 && ch.nowhere() {
			r.dropLocked(ch)
		}
	}
}

// homingLocked reports whether f asked for one of the channels as their home.
func (r *registry) homingLocked(f *feed, names []string) bool {
	for _, name := range names {
		if ch := r.mu.channels[name]; ch != nil && ch.asked == f {
			return true
		}
	}
	return false
}
