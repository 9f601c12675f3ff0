package reconcile

import (
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster/redirect"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// View is the cluster as it is known. What it returns changes only together with a call of
// [Reconciler.TopologyChanged] afterwards.
type View interface {
	// Owner returns the address of the primary of a slot; empty if there is none.
	Owner(slot int) string
	// Shard returns the shard of a node.
	Shard(addr string) (shard int, known bool)
	// Replicas returns the addresses of the replicas where channels are subscribed too, by their primary's. Nil: channels
	// are subscribed at primaries only.
	Replicas() map[string][]string
}

// Effects are what the reconciler has done. They are called during its methods, with the caller's lock held, and must
// not call the reconciler.
type Effects interface {
	// NewChannel makes a channel for a topic: an event channel or the watermark channel of its slot.
	NewChannel(spec ChannelSpec) *Channel
	// Wake says that [Reconciler.Commands] has something for a session.
	Wake(s *Session)
	// Source says that a channel is confirmed on a session, which is its source from now on.
	Source(ch *Channel, s *Session)
	// Start says that a wanted channel is confirmed at its owner: nothing is lost from now on. Waiters are those
	// Subscribe calls that waited for that. It reports whether somebody calls [Release] on them later.
	Start(ch *Channel, waiters *Waiter, now time.Time) (later bool)
	// Resume says that a confirmed channel that was about to be unsubscribed is wanted again.
	Resume(ch *Channel, now time.Time)
	// Join offers the Subscribe that waits for a confirmed channel. It reports whether somebody calls [Release] on it
	// later.
	Join(ch *Channel, w *Waiter, now time.Time) (later bool)
	// Fault says that events of a channel may have been lost.
	Fault(ch *Channel, reason transport.GapReason)
	// Suspect says that the topology seems to have changed.
	Suspect()
}

// Reconciler is the desired and the actual subscriptions. Its methods must not be called concurrently.
type Reconciler struct {
	view    View
	effects Effects

	classes  connkey.Classes
	topics   map[string]*Topic
	channels map[ChannelKey]*Channel
	bySlot   slotLists
	sessions map[connkey.Key]*Session
	// outOfSync are the slots where desired and actual state differ, by the session that should act.
	outOfSync map[connkey.Key]*slotSet
	// redirects are over view.
	redirects redirect.Table
	// strays are channels that were confirmed on a session when nobody knew them any more: they were asked for twice.
	strays map[*Session][]string
	// errors are why there are no sessions, until there are.
	errors map[connkey.Key]error
	// replicas is View.Replicas.
	replicas map[string][]string
	// unconfirmed are the channels that are wanted and confirmed nowhere; nil: there are none.
	unconfirmed map[*Channel]struct{}
}

// New returns a reconciler without topics and sessions.
func New(view View, classes connkey.Classes, effects Effects) *Reconciler {
	return &Reconciler{
		view: view, classes: classes, effects: effects,
		topics: make(map[string]*Topic), channels: make(map[ChannelKey]*Channel), sessions: make(map[connkey.Key]*Session),
		outOfSync: make(map[connkey.Key]*slotSet), redirects: redirect.New(view), errors: make(map[connkey.Key]error),
		strays: make(map[*Session][]string), replicas: view.Replicas(),
	}
}

// owner returns the address where a slot's channels belong; empty if nobody serves it.
func (r *Reconciler) owner(slot int) string { return r.redirects.Owner(slot) }

// mark gives a slot to the sessions of a class at its owner and at the replicas to look at.
func (r *Reconciler) mark(class connkey.Class, slot int) {
	r.markFor(connkey.Key{Addr: r.owner(slot), Class: class}, slot)
	r.markReplicas(class, slot)
}

// markAll is mark for every class that has channels in the slot.
func (r *Reconciler) markAll(slot int) {
	for class := range r.classes.All() {
		if r.bySlot.has(slot, class) {
			r.mark(class, slot)
		}
	}
}

// markWhereSubscribed gives a channel's slot to the sessions where it is subscribed.
func (r *Reconciler) markWhereSubscribed(ch *Channel) {
	slot := int(ch.slot)
	if ch.confirmedOn != nil {
		r.markFor(ch.confirmedOn.Key, slot)
	}
	if ch.pendingOn != nil && ch.pendingOn != ch.confirmedOn {
		r.markFor(ch.pendingOn.Key, slot)
	}
	for c := ch.replicas; c != nil; c = c.next {
		r.markFor(c.session.Key, slot)
	}
}

func (r *Reconciler) markFor(key connkey.Key, slot int) {
	set := r.outOfSync[key]
	if set == nil {
		set = new(slotSet)
		r.outOfSync[key] = set
	}
	set.add(slot)
	if s := r.sessions[key]; s != nil {
		r.effects.Wake(s)
	}
}

// Retry has slots looked at again where something did not work out for sessions of a class.
func (r *Reconciler) Retry(class connkey.Class, slots []int) {
	for _, slot := range slots {
		r.mark(class, slot)
	}
}

// TopicCount returns how many topics are wanted.
func (r *Reconciler) TopicCount() int { return len(r.topics) }

// Topic returns a wanted topic; nil if it is not.
func (r *Reconciler) Topic(name string) *Topic { return r.topics[name] }

// Channel returns a listed channel; nil if there is none of that name.
func (r *Reconciler) Channel(key ChannelKey) *Channel { return r.channels[key] }

// Channels returns all listed channels. The caller must not change the map.
func (r *Reconciler) Channels() map[ChannelKey]*Channel { return r.channels }

// Session returns the session of a node and class; nil if there is none.
func (r *Reconciler) Session(key connkey.Key) *Session { return r.sessions[key] }
