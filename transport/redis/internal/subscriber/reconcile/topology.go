package reconcile

import (
	"maps"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// TopologyChanged gives every slot whose channels are not where the view says to the session that should have them.
func (r *Reconciler) TopologyChanged(changes router.Changes, now time.Time) {
	for _, move := range changes.Slots {
		r.slotsMoved(move)
	}
	r.redirects.Clear()
	r.replicas = r.view.Replicas()
	maps.DeleteFunc(r.errors, func(key connkey.Key, _ error) bool {
		_, known := r.view.Shard(key.Addr)
		return !known
	})
	r.outOfSync = make(map[connkey.Key]*slotSet, len(r.outOfSync))
	for slot := range r.bySlot.slots() {
		owner := r.view.Owner(slot)
		for ch := r.bySlot.first(slot); ch != nil; ch = ch.next {
			r.promote(ch, owner, now)
			if ch.refs > 0 && (ch.confirmedOn == nil || ch.confirmedOn.Addr != owner) {
				r.markFor(connkey.Key{Addr: owner, Class: ch.class}, slot)
			}
			if ch.refs == 0 {
				r.markWhereSubscribed(ch)
			}
		}
		for class := range r.classes.All() {
			if r.bySlot.has(slot, class) {
				r.markReplicas(class, slot)
			}
		}
	}
}

// slotsMoved notes why slots have another owner, where two are known.
func (r *Reconciler) slotsMoved(move router.SlotMove) {
	if move.From == (router.Node{}) || move.To == (router.Node{}) {
		return
	}
	reason := transport.Migration
	if move.SameShard {
		reason = transport.FailOver
	}
	for slot := move.Slots.From; slot <= move.Slots.To; slot++ {
		for ch := r.bySlot.first(slot); ch != nil; ch = ch.next {
			if ch.refs > 0 && (ch.confirmedOn == nil || ch.confirmedOn.Addr != move.To.Addr) {
				ch.moveReason = reason
				r.effects.Fault(ch, reason)
			}
		}
	}
}

// promote makes a subscription at a replica that is the slot's owner now the one that counts, and forgets those at nodes
// that are no replicas any more: before 7.2.2 a replica that left the shard keeps the subscription listed, and hears
// nothing. What such a node was asked for it may confirm still.
func (r *Reconciler) promote(ch *Channel, owner string, now time.Time) {
	for c := ch.replicas; c != nil; c = c.next {
		if c.session.Addr == owner && c.state == replicaConfirmed && (ch.confirmedOn == nil || ch.confirmedOn.Addr != owner) {
			ch.moveReason = transport.Unknown
			r.confirm(ch, c.session)
			if ch.refs > 0 {
				r.start(ch, now)
			}
			break
		}
	}
	ch.dropReplicas(func(c *replicaSub) bool {
		return c.state != replicaPending && c.session.Addr != owner && !r.isReplica(c.session.Addr, int(ch.slot))
	})
	r.removeIfLeft(ch)
}
