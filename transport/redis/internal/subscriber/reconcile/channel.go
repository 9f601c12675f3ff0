package reconcile

import (
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// Kind is what a channel carries.
type Kind uint8

// Kinds of channels.
const (
	Event     Kind = iota // events of a partition
	Watermark             // the watermarks of a slot
	Inbox                 // answers to this process
	Nack                  // negative acknowledgements to one publisher of this process
	Baseline              // questions to all publishers for their positions
)

// Session is one connection to a node, as the reconciler knows it. It has the channels of its class. Owner is the
// caller's.
type Session struct {
	connkey.Key
	Owner any
}

// ChannelKey names a channel. Where topics of several classes share a slot, each class has a channel of its watermarks,
// so that they come behind the events.
type ChannelKey struct {
	Name  string
	Class connkey.Class
}

// ChannelSpec is what a channel is made of. Topic, Partition and Partitions are of an event channel only.
type ChannelSpec struct {
	ChannelKey
	Kind                  Kind
	Slot                  int
	Topic                 string
	Partition, Partitions int
}

// Channel is what is wanted of one channel, and where it is subscribed. There are thousands: what is small stands
// together. Owner is the caller's.
type Channel struct {
	Owner any

	name string
	slot uint16
	kind Kind

	unsubscribing bool                // SUNSUBSCRIBE is on its way to confirmedOn
	moveReason    transport.GapReason // why the slot has another owner than where it was confirmed; Unknown: it has not
	refs          int32               // how many topics want it; 0: it is to be unsubscribed
	class         connkey.Class       // whose sessions have it

	confirmedOn *Session
	pendingOn   *Session    // where SSUBSCRIBE is on its way
	last        *Session    // confirmedOn, or what it was last; nil: it was never confirmed
	replicas    *replicaSub // where it is subscribed beside its owner
	waiting     *Waiter     // Subscribe calls that wait until it is confirmed

	next *Channel // of the same slot
}

// Init sets what a channel is. It is to be called once, before the channel is handed to a reconciler.
func (ch *Channel) Init(owner any, kind Kind, key ChannelKey, slot int) {
	ch.Owner, ch.kind, ch.name, ch.class, ch.slot = owner, kind, key.Name, key.Class, uint16(slot)
}

// Name returns the channel's name.
func (ch *Channel) Name() string { return ch.name }

// Class returns whose sessions have the channel.
func (ch *Channel) Class() connkey.Class { return ch.class }

func (ch *Channel) key() ChannelKey { return ChannelKey{Name: ch.name, Class: ch.class} }

// Slot returns the slot of the channel's name.
func (ch *Channel) Slot() int { return int(ch.slot) }

// Kind returns what the channel carries.
func (ch *Channel) Kind() Kind { return ch.kind }

// Wanted reports whether somebody wants the channel.
func (ch *Channel) Wanted() bool { return ch.refs > 0 }

// ConfirmedOn returns the session where the channel is confirmed; nil: nowhere, or SUNSUBSCRIBE is on its way.
func (ch *Channel) ConfirmedOn() *Session {
	if ch.unsubscribing {
		return nil
	}
	return ch.confirmedOn
}

// Unsubscribed reports whether no session has the channel, or will have.
func (ch *Channel) Unsubscribed() bool {
	return ch.confirmedOn == nil && ch.pendingOn == nil && ch.replicas == nil
}

// Left reports whether the channel is wanted again, or subscribed at no owner.
func (ch *Channel) Left() bool { return ch.refs > 0 || ch.confirmedOn == nil && ch.pendingOn == nil }

// unconfirmed reports whether the channel is confirmed nowhere, or about to be unsubscribed.
func (ch *Channel) unconfirmed() bool { return ch.confirmedOn == nil || ch.unsubscribing }

// fail ends every Subscribe that waits for the channel.
func (ch *Channel) fail(err error) {
	for ch.waiting != nil {
		ch.waiting.call.fail(err)
	}
}

// removeWaiter takes a waiter off the list if it is there.
func (ch *Channel) removeWaiter(w *Waiter) {
	for at := &ch.waiting; *at != nil; at = &(*at).next {
		if *at == w {
			*at, w.next = w.next, nil
			return
		}
	}
}

// channelOf returns the channel of that name that is a session's; nil if it is not listed.
func (r *Reconciler) channelOf(s *Session, name string) *Channel {
	return r.channels[ChannelKey{Name: name, Class: s.Class}]
}

// setRefs notes how many topics want a channel.
func (r *Reconciler) setRefs(ch *Channel, refs int32) {
	ch.refs = refs
	r.countUnconfirmed(ch)
}

// setConfirmedOn notes where a channel is confirmed; nil: nowhere.
func (r *Reconciler) setConfirmedOn(ch *Channel, s *Session) {
	ch.confirmedOn, ch.unsubscribing = s, false
	r.countUnconfirmed(ch)
}

func (r *Reconciler) countUnconfirmed(ch *Channel) {
	switch {
	case ch.refs == 0 || ch.confirmedOn != nil:
		if delete(r.unconfirmed, ch); len(r.unconfirmed) == 0 {
			r.unconfirmed = nil // after thousands it would stay as large
		}
	case r.unconfirmed == nil:
		r.unconfirmed = map[*Channel]struct{}{ch: {}}
	default:
		r.unconfirmed[ch] = struct{}{}
	}
}

// Unconfirmed counts the channels that are wanted and confirmed nowhere, by their owner and class; nil: there are none.
func (r *Reconciler) Unconfirmed() map[connkey.Key]int {
	if len(r.unconfirmed) == 0 {
		return nil
	}
	counts := make(map[connkey.Key]int)
	for ch := range r.unconfirmed {
		counts[connkey.Key{Addr: r.owner(int(ch.slot)), Class: ch.class}]++
	}
	return counts
}

// ReceivesFrom reports whether wanted channels are confirmed at an address.
func (r *Reconciler) ReceivesFrom(addr string) bool {
	for _, ch := range r.channels {
		if ch.refs > 0 && ch.confirmedOn != nil && ch.confirmedOn.Addr == addr {
			return true
		}
	}
	return false
}

// Want adds a reference to a channel that belongs to no topic, and lists it.
func (r *Reconciler) Want(ch *Channel) {
	if r.channels[ch.key()] != ch {
		r.add(ch)
	}
	if ch.refs > 0 {
		return
	}
	r.setRefs(ch, 1)
	r.mark(ch.class, int(ch.slot))
}

// Unwant drops what Want added.
func (r *Reconciler) Unwant(ch *Channel) {
	r.setRefs(ch, 0)
	if ch.Unsubscribed() {
		r.remove(ch)
	} else {
		r.markWhereSubscribed(ch)
	}
}

// add lists a new channel.
func (r *Reconciler) add(ch *Channel) {
	r.channels[ch.key()] = ch
	r.bySlot.add(ch)
}

// remove forgets a channel that is subscribed nowhere.
func (r *Reconciler) remove(ch *Channel) {
	delete(r.channels, ch.key())
	r.bySlot.remove(ch)
}

// removeIfLeft forgets a channel that nobody wants and no session has.
func (r *Reconciler) removeIfLeft(ch *Channel) {
	if ch.refs == 0 && ch.Unsubscribed() {
		r.remove(ch)
	}
}
