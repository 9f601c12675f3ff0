package reconcile

import (
	"slices"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// With View.Replicas a channel is subscribed at every node of its shard: at the owner, which is the primary, as always,
// and at the replicas, where the same events arrive over the cluster bus. When a replica is promoted, what is subscribed
// there counts from then on.

// replicaState is what is known of a subscription beside the owner.
type replicaState uint8

const (
	replicaPending   replicaState = iota // SSUBSCRIBE is on its way
	replicaConfirmed                     // it is confirmed
	replicaLeaving                       // SUNSUBSCRIBE is on its way
)

// replicaSub is a subscription beside the owner. A channel has as many as its shard has replicas, so a list will do;
// there are thousands of channels, and a map takes ten times as much.
type replicaSub struct {
	session *Session
	next    *replicaSub
	state   replicaState
}

// replicated reports whether replicas have the channel too. Answers and questions must not arrive twice.
func (ch *Channel) replicated() bool { return ch.kind == Event || ch.kind == Watermark }

// replicaOn returns the subscription beside the owner on s; nil if there is none.
func (ch *Channel) replicaOn(s *Session) *replicaSub {
	c := ch.replicas
	for c != nil && c.session != s {
		c = c.next
	}
	return c
}

// setReplica notes what is known of the subscription on s.
func (ch *Channel) setReplica(s *Session, state replicaState) {
	if c := ch.replicaOn(s); c != nil {
		c.state = state
		return
	}
	ch.replicas = &replicaSub{session: s, next: ch.replicas, state: state}
}

// dropReplicas forgets the subscriptions that are gone.
func (ch *Channel) dropReplicas(gone func(c *replicaSub) bool) {
	for at := &ch.replicas; *at != nil; {
		if c := *at; gone(c) {
			*at = c.next
		} else {
			at = &c.next
		}
	}
}

// dropReplica forgets the subscription on s.
func (ch *Channel) dropReplica(s *Session) {
	if ch.replicas != nil {
		ch.dropReplicas(func(c *replicaSub) bool { return c.session == s })
	}
}

// isReplica reports whether a node should have a slot's channels beside their owner.
func (r *Reconciler) isReplica(addr string, slot int) bool {
	return r.replicas != nil && slices.Contains(r.replicas[r.view.Owner(slot)], addr)
}

// markReplicas gives a slot to the sessions of a class at the replicas of its shard.
func (r *Reconciler) markReplicas(class connkey.Class, slot int) {
	if r.replicas == nil {
		return
	}
	for _, addr := range r.replicas[r.view.Owner(slot)] {
		r.markFor(connkey.Key{Addr: addr, Class: class}, slot)
	}
}

// replicaCommand adds what s has to do for a channel whose owner is elsewhere.
func (r *Reconciler) replicaCommand(ch *Channel, s *Session, todo *Commands) {
	if r.replicas == nil || ch.confirmedOn == s || ch.pendingOn == s {
		return
	}
	c := ch.replicaOn(s)
	switch {
	case c == nil && ch.refs > 0 && ch.replicated() && r.isReplica(s.Addr, todo.Slot):
		ch.setReplica(s, replicaPending)
		todo.Subscribe = append(todo.Subscribe, ch.name)
	case c != nil && c.state == replicaConfirmed && !r.wantsReplica(ch, s):
		ch.setReplica(s, replicaLeaving)
		todo.Unsubscribe = append(todo.Unsubscribe, ch.name)
	}
}

// wantsReplica reports whether a channel that is subscribed on s, but not as its owner, is to stay. At the owner it is:
// it is about to be what counts.
func (r *Reconciler) wantsReplica(ch *Channel, s *Session) bool {
	slot := int(ch.slot)
	return ch.refs > 0 && (r.owner(slot) == s.Addr || ch.replicated() && r.isReplica(s.Addr, slot))
}

// confirmReplica notes that a channel is subscribed on s, if that is not its owner, and reports whether.
func (r *Reconciler) confirmReplica(ch *Channel, s *Session) bool {
	if r.replicas == nil || ch.pendingOn == s || r.owner(int(ch.slot)) == s.Addr {
		return false
	}
	if ch.confirmedOn == s {
		return true
	}
	ch.setReplica(s, replicaConfirmed)
	if !r.wantsReplica(ch, s) {
		r.markFor(s.Key, int(ch.slot))
	}
	return true
}

// replicaLost notes that a channel is not subscribed on s any more, if it was beside its owner.
func (r *Reconciler) replicaLost(ch *Channel, s *Session) {
	if ch.replicaOn(s) == nil {
		return
	}
	ch.dropReplica(s)
	if ch.refs > 0 {
		r.markFor(s.Key, int(ch.slot))
		return
	}
	r.removeIfLeft(ch)
}

// replicaRefused notes that SSUBSCRIBE beside the owner failed.
func (r *Reconciler) replicaRefused(ch *Channel, s *Session) {
	if c := ch.replicaOn(s); c != nil && c.state == replicaPending {
		ch.dropReplica(s)
		r.removeIfLeft(ch)
	}
}
