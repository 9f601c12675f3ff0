package redis

import (
	"maps"
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
func (ch *channel) nowhere() bool { return ch.home == nil && ch.asked == nil && len(ch.copies) == 0 }

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
	state, copied := ch.copies[f]
	switch {
	case r.mu.standbys == nil || ch.home == f || ch.asked == f:
	case ch.users > 0 && !copied && (ch.kind == eventChannel || ch.kind == watermarkChannel) && r.standsByLocked(f.addr, ch.slot):
		ch.copyAt(f, copyAsked)
		todo.enter = append(todo.enter, ch.name)
	case ch.users == 0 && copied && state == copyListed:
		ch.copyAt(f, copyLeaving)
		todo.leave = append(todo.leave, ch.name)
	}
}

func (ch *channel) copyAt(f *feed, state copyState) {
	if ch.copies == nil {
		ch.copies = make(map[*feed]copyState)
	}
	ch.copies[f] = state
}

// copiedLocked notes that a channel is subscribed on f, if that is not its home.
func (r *registry) copiedLocked(ch *channel, f *feed) bool {
	if r.mu.standbys == nil || ch.asked == f || r.ownerLocked(ch.slot) == f.addr {
		return false
	}
	if ch.home == f {
		return true
	}
	ch.copyAt(f, copyListed)
	if ch.users == 0 {
		r.markForLocked(f.addr, ch.slot)
	}
	return true
}

// settleAtLocked makes f, where a channel is confirmed, its home. What was the home goes on as a copy.
func (r *registry) settleAtLocked(ch *channel, f *feed) {
	if old := ch.home; r.mu.standbys != nil && old != nil && old != f {
		ch.copyAt(old, copyListed)
	}
	delete(ch.copies, f)
	ch.home, ch.last, ch.leaving = f, f.addr, false
	ch.own.Store(f)
}

// promoteLocked makes a copy that is at the slot's owner the home, and forgets those at nodes that do not stand by any
// more: before 7.2.2 a replica that left the shard keeps the subscription listed, and hears nothing.
func (r *registry) promoteLocked(ch *channel, owner string) {
	for f, state := range ch.copies {
		if f.addr == owner && state == copyListed && (ch.home == nil || ch.home.addr != owner) {
			ch.moved = transport.Unknown
			r.settleAtLocked(ch, f)
			if ch.users > 0 {
				r.arrivedLocked(ch, time.Now())
			}
			break
		}
	}
	maps.DeleteFunc(ch.copies, func(f *feed, _ copyState) bool { return f.addr != owner && !r.standsByLocked(f.addr, ch.slot) })
	if ch.users == 0 && ch.nowhere() {
		r.dropLocked(ch)
	}
}

// loseCopyLocked notes that a channel is not subscribed on f any more, if a copy of it was.
func (r *registry) loseCopyLocked(ch *channel, f *feed) {
	if _, copied := ch.copies[f]; !copied {
		return
	}
	delete(ch.copies, f)
	switch {
	case ch.users > 0:
		r.markForLocked(f.addr, ch.slot)
	case ch.nowhere():
		r.dropLocked(ch)
	}
}

// refuseCopyLocked notes that SSUBSCRIBE of a copy on f failed. The slot is to be marked again.
func (r *registry) refuseCopyLocked(ch *channel, f *feed) {
	if state, copied := ch.copies[f]; copied && state == copyAsked {
		delete(ch.copies, f)
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
