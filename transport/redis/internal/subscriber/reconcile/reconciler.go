package reconcile

import (
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster/redirect"
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

	topics   map[string]*Topic
	channels map[string]*Channel
	bySlot   slotLists
	sessions map[string]*Session // by address
	// outOfSync are the slots where desired and actual state differ, by the address that should act.
	outOfSync map[string]*slotSet
	// redirects are over view.
	redirects redirect.Table
	// strays are channels that were confirmed on a session when nobody knew them any more: they were asked for twice.
	strays map[*Session][]string
	// errors are why servers could not be reached, by address, until they are.
	errors map[string]error
	// replicas is View.Replicas.
	replicas map[string][]string
	// unconfirmed are the channels that are wanted and confirmed nowhere; nil: there are none.
	unconfirmed map[*Channel]struct{}
}

// New returns a reconciler without topics and sessions.
func New(view View, effects Effects) *Reconciler {
	return &Reconciler{
		view: view, effects: effects,
		topics: make(map[string]*Topic), channels: make(map[string]*Channel), sessions: make(map[string]*Session),
		outOfSync: make(map[string]*slotSet), redirects: redirect.New(view), errors: make(map[string]error), strays: make(map[*Session][]string),
		replicas: view.Replicas(),
	}
}

// owner returns the address where a slot's channels belong; empty if nobody serves it.
func (r *Reconciler) owner(slot int) string { return r.redirects.Owner(slot) }

// mark gives a slot to the sessions of its owner and of the replicas to look at.
func (r *Reconciler) mark(slot int) {
	r.markFor(r.owner(slot), slot)
	r.markReplicas(slot)
}

// markWhereSubscribed gives a channel's slot to the sessions where it is subscribed.
func (r *Reconciler) markWhereSubscribed(ch *Channel) {
	slot := int(ch.slot)
	if ch.confirmedOn != nil {
		r.markFor(ch.confirmedOn.Addr, slot)
	}
	if ch.pendingOn != nil && ch.pendingOn != ch.confirmedOn {
		r.markFor(ch.pendingOn.Addr, slot)
	}
	for c := ch.replicas; c != nil; c = c.next {
		r.markFor(c.session.Addr, slot)
	}
}

func (r *Reconciler) markFor(addr string, slot int) {
	set := r.outOfSync[addr]
	if set == nil {
		set = new(slotSet)
		r.outOfSync[addr] = set
	}
	set.add(slot)
	if s := r.sessions[addr]; s != nil {
		r.effects.Wake(s)
	}
}

// Retry has slots looked at again where something did not work out.
func (r *Reconciler) Retry(slots []int) {
	for _, slot := range slots {
		r.mark(slot)
	}
}

// TopicCount returns how many topics are wanted.
func (r *Reconciler) TopicCount() int { return len(r.topics) }

// Topic returns a wanted topic; nil if it is not.
func (r *Reconciler) Topic(name string) *Topic { return r.topics[name] }

// Channel returns a listed channel; nil if there is none of that name.
func (r *Reconciler) Channel(name string) *Channel { return r.channels[name] }

// Channels returns all listed channels. The caller must not change the map.
func (r *Reconciler) Channels() map[string]*Channel { return r.channels }

// Session returns the session at an address; nil if there is none.
func (r *Reconciler) Session(addr string) *Session { return r.sessions[addr] }
