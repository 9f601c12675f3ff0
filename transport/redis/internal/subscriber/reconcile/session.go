package reconcile

import (
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// SessionUp lists a new session.
func (r *Reconciler) SessionUp(s *Session) {
	r.sessions[s.Key] = s
	delete(r.errors, s.Key)
	r.effects.Wake(s)
}

// SessionLost notes that a session has ended, with everything that was subscribed on it.
func (r *Reconciler) SessionLost(s *Session) {
	if r.sessions[s.Key] == s {
		delete(r.sessions, s.Key)
	}
	delete(r.strays, s)
	for _, slot := range r.redirects.EndTo(s.Addr) {
		r.markAll(slot) // what was to be asked for here, and was not yet
	}
	for _, ch := range r.channels {
		if ch.pendingOn == s {
			ch.pendingOn = nil
			r.lost(ch)
		}
		if ch.confirmedOn == s {
			r.setConfirmedOn(ch, nil)
			r.lost(ch)
		}
		r.replicaLost(ch, s)
	}
}

// lost notes that a channel is not subscribed where it was.
func (r *Reconciler) lost(ch *Channel) {
	if ch.refs == 0 {
		r.removeIfLeft(ch)
		return
	}
	r.effects.Fault(ch, transport.Disconnected) // for now: where it is confirmed next tells more
	r.mark(ch.class, int(ch.slot))
}

// Confirmed notes that a channel is subscribed on a session, and returns it; nil if it is not listed: it is to be
// unsubscribed again.
func (r *Reconciler) Confirmed(s *Session, name string, now time.Time) *Channel {
	ch := r.channelOf(s, name)
	if ch == nil {
		r.stray(s, name)
		return nil
	}
	if r.confirmReplica(ch, s) {
		return ch
	}
	if ch.pendingOn == s {
		ch.pendingOn = nil
	}
	slot := int(ch.slot)
	if ch.last != nil && ch.moveReason == transport.Unknown && r.otherShard(ch.last.Addr, s.Addr) {
		ch.moveReason = transport.Migration // a MOVED was first to tell
	}
	owner := r.owner(slot)
	if ch.moveReason != transport.Unknown && owner == s.Addr {
		r.effects.Fault(ch, ch.moveReason)
		ch.moveReason = transport.Unknown
	}
	r.confirm(ch, s)
	if owner != s.Addr { // the slot moved while the command was on its way
		r.mark(s.Class, slot)
	}
	if ch.refs == 0 {
		r.markFor(s.Key, slot)
		return ch
	}
	r.start(ch, now)
	return ch
}

// confirm makes a session, where a channel is subscribed, the one that counts. What was that goes on as a replica's.
func (r *Reconciler) confirm(ch *Channel, s *Session) {
	if old := ch.confirmedOn; r.replicas != nil && old != nil && old != s {
		ch.setReplica(old, replicaConfirmed)
		if !r.wantsReplica(ch, old) {
			r.markFor(old.Key, int(ch.slot))
		}
	}
	ch.dropReplica(s)
	r.setConfirmedOn(ch, s)
	ch.last = s
	r.effects.Source(ch, s)
}

// start follows when a wanted channel is confirmed.
func (r *Reconciler) start(ch *Channel, now time.Time) {
	waiters := ch.waiting
	ch.waiting = nil
	for w := waiters; w != nil; w = w.next {
		w.call.confirmed()
	}
	if !r.effects.Start(ch, waiters, now) {
		Release(waiters)
	}
}

// otherShard reports whether two nodes are known and serve different slots.
func (r *Reconciler) otherShard(a, b string) bool {
	if a == b {
		return false
	}
	one, known := r.view.Shard(a)
	two, both := r.view.Shard(b)
	return known && both && one != two
}

// Unsubscribed notes that a channel is not subscribed on a session any more: because that was asked for, or because the
// slot moved.
func (r *Reconciler) Unsubscribed(s *Session, name string) {
	ch := r.channelOf(s, name)
	if ch == nil {
		return
	}
	if c := ch.replicaOn(s); c != nil {
		r.replicaLost(ch, s)
		if c.state != replicaLeaving && r.isReplica(s.Addr, int(ch.slot)) {
			r.effects.Suspect()
		}
	}
	if ch.confirmedOn != s {
		return
	}
	asked := ch.unsubscribing
	r.setConfirmedOn(ch, nil)
	r.lost(ch)
	if !asked {
		r.effects.Suspect()
	}
}

// NoteError notes what is wrong with a session, for the error of who waits for channels there and gives up.
func (r *Reconciler) NoteError(key connkey.Key, err error) { r.errors[key] = err }

// Unreachable is NoteError, and ends the waiting for channels there: trying again does not help.
func (r *Reconciler) Unreachable(key connkey.Key, err error) {
	r.errors[key] = err
	for slot := range r.outOfSync[key].all() {
		if r.owner(slot) != key.Addr { // replicas were wanted there: nobody waits for them
			continue
		}
		for ch := r.bySlot.first(slot); ch != nil; ch = ch.next {
			if ch.class == key.Class {
				ch.fail(err)
			}
		}
	}
}

// Why returns what keeps a topic from being confirmed, if that is known: nobody owns a slot of it, or an error.
func (r *Reconciler) Why(topic string) (unowned bool, err error) {
	t := r.topics[topic]
	if t == nil {
		return false, nil
	}
	for _, ch := range t.channels {
		if ch.confirmedOn != nil {
			continue
		}
		owner := r.owner(int(ch.slot))
		if owner == "" {
			return true, nil
		}
		if err := r.errors[connkey.Key{Addr: owner, Class: ch.class}]; err != nil {
			return false, err
		}
	}
	return false, nil
}
