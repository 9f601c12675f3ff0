package redis

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// With Config.Standby a channel is subscribed at every node of its shard: at its home, which is the primary, as always,
// and at the replicas, where the same events arrive over the cluster bus. The tracker takes a number from
// whichever way it comes first. When a replica is promoted, what is subscribed there becomes the home.

// replicaState is what is known of a subscription beside the home.
type replicaState uint8

const (
	replicaPending   replicaState = iota // SSUBSCRIBE is on its way
	replicaConfirmed                     // it is confirmed
	replicaLeaving                       // SUNSUBSCRIBE is on its way
)

// replicaSub is a subscription beside the home. A channel has as many as its shard has replicas, so a list will do; there are
// thousands of channels, and a map takes ten times as much.
type replicaSub struct {
	session *session
	next    *replicaSub
	state   replicaState
}

// replicaOn returns the replica subscription on f; nil if there is none.
func (ch *channel) replicaOn(f *session) *replicaSub {
	c := ch.replicas
	for c != nil && c.session != f {
		c = c.next
	}
	return c
}

// setReplica notes what is known of the replica subscription on f.
func (ch *channel) setReplica(f *session, state replicaState) {
	if c := ch.replicaOn(f); c != nil {
		c.state = state
		return
	}
	ch.replicas = &replicaSub{session: f, next: ch.replicas, state: state}
}

// dropReplicas forgets the replica subscriptions that are gone.
func (ch *channel) dropReplicas(gone func(f *session) bool) {
	for at := &ch.replicas; *at != nil; {
		if c := *at; gone(c.session) {
			*at = c.next
		} else {
			at = &c.next
		}
	}
}

// dropReplica forgets the replica subscription on f.
func (ch *channel) dropReplica(f *session) {
	if ch.replicas != nil {
		ch.dropReplicas(func(of *session) bool { return of == f })
	}
}

// replicas returns the addresses of the replicas, by their primary's; nil without Config.Standby.
func (t *topology) replicas() map[string][]string {
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

// unsubscribed reports whether no connection has the channel, or will.
func (ch *channel) unsubscribed() bool {
	return ch.confirmedOn == nil && ch.pendingOn == nil && ch.replicas == nil
}

// isReplicaLocked reports whether a node should have replica subscriptions of a slot's channels.
func (r *subscriptions) isReplicaLocked(addr string, slot int) bool {
	return r.mu.standbys != nil && slices.Contains(r.mu.standbys[r.topology.owner(slot)], addr)
}

// markReplicasLocked gives a slot to the readers at the replicas of its shard.
func (r *subscriptions) markReplicasLocked(slot int) {
	if r.mu.standbys == nil {
		return
	}
	for _, addr := range r.mu.standbys[r.topology.owner(slot)] {
		r.markForLocked(addr, slot)
	}
}

// replicaCommandLocked adds what f has to do for replica subscriptions of a channel.
func (r *subscriptions) replicaCommandLocked(ch *channel, f *session, todo *slotCommands) {
	if r.mu.standbys == nil || ch.confirmedOn == f || ch.pendingOn == f {
		return
	}
	c := ch.replicaOn(f)
	switch {
	case ch.refs > 0 && c == nil && (ch.kind == eventChannel || ch.kind == watermarkChannel) && r.isReplicaLocked(f.addr, todo.slot):
		ch.setReplica(f, replicaPending)
		todo.subscribe = append(todo.subscribe, ch.name)
	case ch.refs == 0 && c != nil && c.state == replicaConfirmed:
		ch.setReplica(f, replicaLeaving)
		todo.unsubscribe = append(todo.unsubscribe, ch.name)
	}
}

// confirmReplicaLocked notes that a channel is subscribed on f, if that is not its home.
func (r *subscriptions) confirmReplicaLocked(ch *channel, f *session) bool {
	if r.mu.standbys == nil || ch.pendingOn == f || r.ownerLocked(int(ch.slot)) == f.addr {
		return false
	}
	if ch.confirmedOn == f {
		return true
	}
	ch.setReplica(f, replicaConfirmed)
	if ch.refs == 0 {
		r.markForLocked(f.addr, int(ch.slot))
	}
	return true
}

// confirmOnLocked makes f, where a channel is confirmed, its home. What was the home goes on as a replica subscription.
func (r *subscriptions) confirmOnLocked(ch *channel, f *session) {
	if old := ch.confirmedOn; r.mu.standbys != nil && old != nil && old != f {
		ch.setReplica(old, replicaConfirmed)
	}
	ch.dropReplica(f)
	ch.unsubscribing = false
	r.setConfirmedOnLocked(ch, f)
	ch.source.Store(f)
}

// promoteLocked makes a replica subscription that is at the slot's owner the home, and forgets those at nodes that do not stand by any
// more: before 7.2.2 a replica that left the shard keeps the subscription listed, and hears nothing.
func (r *subscriptions) promoteLocked(ch *channel, owner string) {
	for c := ch.replicas; c != nil; c = c.next {
		if c.session.addr == owner && c.state == replicaConfirmed && (ch.confirmedOn == nil || ch.confirmedOn.addr != owner) {
			ch.moveReason = transport.Unknown
			r.confirmOnLocked(ch, c.session)
			if ch.refs > 0 {
				r.startLocked(ch, time.Now())
			}
			break
		}
	}
	ch.dropReplicas(func(f *session) bool { return f.addr != owner && !r.isReplicaLocked(f.addr, int(ch.slot)) })
	if ch.refs == 0 && ch.unsubscribed() {
		r.removeChannelLocked(ch)
	}
}

// replicaLostLocked notes that a channel is not subscribed on f any more, if a replica subscription of it was.
func (r *subscriptions) replicaLostLocked(ch *channel, f *session) {
	if ch.replicaOn(f) == nil {
		return
	}
	ch.dropReplica(f)
	switch {
	case ch.refs > 0:
		r.markForLocked(f.addr, int(ch.slot))
	case ch.unsubscribed():
		r.removeChannelLocked(ch)
	}
}

// replicaRefusedLocked notes that SSUBSCRIBE of a replica subscription on f failed. The slot is to be marked again.
func (r *subscriptions) replicaRefusedLocked(ch *channel, f *session) {
	if c := ch.replicaOn(f); c != nil && c.state == replicaPending {
		ch.dropReplica(f)
		if ch.refs == 0 && ch.unsubscribed() {
			r.removeChannelLocked(ch)
		}
	}
}

// pendingOnLocked reports whether f asked for one of the channels as their home.
func (r *subscriptions) pendingOnLocked(f *session, names []string) bool {
	for _, name := range names {
		if ch := r.mu.channels[name]; ch != nil && ch.pendingOn == f {
			return true
		}
	}
	return false
}
