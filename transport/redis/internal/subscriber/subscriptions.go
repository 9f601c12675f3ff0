package subscriber

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
)

// subscriptions are what is subscribed to, what shall be, and where. They outlive the readers. The decisions are
// [reconcile.Reconciler]'s. The methods do no I/O; readers ask for commands and tell what the servers said.
type subscriptions struct {
	s       *Subscriber
	inboxes []atomic.Int32 // how many of control are our inbox, by class, for who only looks whether there is any

	subscribeQueue atomic.Pointer[subscribeCall] // Subscribe calls that are yet to be taken in, the last first

	mu struct {
		sync.Mutex
		core    *reconcile.Reconciler
		ended   map[string]Counts   // of topics that were subscribed to
		control map[string]*channel // those the transport listens on for itself
	}
}

func newSubscriptions(s *Subscriber) *subscriptions {
	r := &subscriptions{s: s, inboxes: make([]atomic.Int32, s.Classes.Len())}
	r.mu.core = reconcile.New(s.Cluster, s.Classes, subscriptionEffects{r})
	r.mu.control = make(map[string]*channel)
	return r
}

// subscriptionEffects carry out what the reconciler decides. subscriptions.mu is held.
type subscriptionEffects struct{ r *subscriptions }

// NewChannel makes a channel of a topic.
func (e subscriptionEffects) NewChannel(spec reconcile.ChannelSpec) *reconcile.Channel {
	ch := &channel{topic: spec.Topic, partition: uint16(spec.Partition), partitions: uint16(spec.Partitions)}
	ch.Init(ch, spec.Kind, spec.ChannelKey, spec.Slot)
	return &ch.Channel
}

// Wake has a session ask for its commands.
func (e subscriptionEffects) Wake(s *reconcile.Session) { sessionOf(s).signal() }

// Source notes where a channel's events come from that have no number.
func (e subscriptionEffects) Source(ch *reconcile.Channel, s *reconcile.Session) {
	channelOf(ch).source.Store(sessionOf(s))
}

// Start makes a channel live, and has publishers asked for its baseline.
func (e subscriptionEffects) Start(ch *reconcile.Channel, waiters *reconcile.Waiter, now time.Time) (later bool) {
	c := channelOf(ch)
	c.start(now)
	return e.r.s.nacks.requestBaseline(now, c, waiters)
}

// Resume makes a channel live that was stopped.
func (e subscriptionEffects) Resume(ch *reconcile.Channel, now time.Time) {
	c := channelOf(ch)
	c.start(now)
	if e.r.s.nacks.requestBaseline(now, c, nil) {
		e.r.s.nacks.signal()
	}
}

// Join has a Subscribe wait for a baseline that is being asked for.
func (e subscriptionEffects) Join(ch *reconcile.Channel, w *reconcile.Waiter, now time.Time) (later bool) {
	return e.r.s.nacks.joinBaseline(now, channelOf(ch), w)
}

// Fault notes that events of a channel may have been lost.
func (e subscriptionEffects) Fault(ch *reconcile.Channel, reason transport.GapReason) {
	channelOf(ch).fault(reason)
}

// Suspect asks for a fresh view of the cluster.
func (e subscriptionEffects) Suspect() { e.r.s.Cluster.Suspect() }

func channelOf(ch *reconcile.Channel) *channel { return ch.Owner.(*channel) }

func sessionOf(s *reconcile.Session) *session { return s.Owner.(*session) }

// removeTopic takes a topic off the list; its Subscribe, if it still waits, fails with why. Nothing of it reaches the
// sink any more when it returns. left are the channels that the servers are yet to be told of.
func (r *subscriptions) removeTopic(topic string, why error) (left []*channel) {
	r.lock()
	defer r.mu.Unlock()
	if unwanted, was := r.mu.core.Unsubscribe(topic, why); was {
		return r.removedLocked(topic, unwanted)
	}
	return nil
}

// removedLocked ends what arrives on the channels of a topic that nobody wants now.
func (r *subscriptions) removedLocked(topic string, unwanted []*reconcile.Channel) (left []*channel) {
	r.s.views().unsubscribes(topic)
	var last Counts
	for _, each := range unwanted {
		ch := channelOf(each)
		counts, read := ch.stop()
		if ch.Kind() == reconcile.Event {
			last.add(counts, read)
		}
		if !ch.Unsubscribed() {
			left = append(left, ch)
		}
	}
	r.keepCountsLocked(topic, last)
	return left
}

// removeAll takes every topic off the list.
func (r *subscriptions) removeAll() {
	r.lock()
	topics := r.mu.core.Topics()
	r.mu.Unlock()
	for _, topic := range topics {
		r.removeTopic(topic, transport.ErrClosed)
	}
	r.setControlChannels(time.Now(), nil, 0)
}

// left reports whether the servers have confirmed that none of the channels is subscribed, or somebody wants it again.
func (r *subscriptions) left(channels []*channel) bool {
	r.lock()
	defer r.mu.Unlock()
	for _, ch := range channels {
		if !ch.Left() {
			return false
		}
	}
	return true
}

// retry has slots looked at again where something did not work out for f.
func (r *subscriptions) retry(f *session, slots []int) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.Retry(f.Class, slots)
}

// applyTopology is after a new snapshot of the topology.
func (r *subscriptions) applyTopology(changes router.Changes) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.TopologyChanged(changes, time.Now())
}

// expireRedirects is called whenever the nodes were asked for the topology.
func (r *subscriptions) expireRedirects(now time.Time) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.EndRedirects(now)
}

// sessionUp lists a reader's new connection.
func (r *subscriptions) sessionUp(f *session) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.SessionUp(&f.Session)
}

// sessionLost notes that a connection has ended, with everything that was subscribed on it.
func (r *subscriptions) sessionLost(f *session) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.SessionLost(&f.Session)
}

// commands returns what f has to ask its server for, and notes that it is being done.
func (r *subscriptions) commands(f *session) []reconcile.Commands {
	r.lock()
	defer r.mu.Unlock()
	return r.mu.core.Commands(&f.Session)
}

// confirmed notes that channels are subscribed on f, and calls each with the channel of each name; nil if it is not
// listed. They come by the thousand, and so does who wants to know: they are taken together.
func (r *subscriptions) confirmed(f *session, all []pushEvent, now time.Time, each func(ch *channel)) {
	r.lock()
	defer r.mu.Unlock()
	for i := range all {
		if f.echo.confirmed(all[i].channel, true) {
			continue
		}
		if ch := r.mu.core.Confirmed(&f.Session, all[i].channel, now); ch != nil {
			each(channelOf(ch))
		}
	}
}

// redirected notes that f answered MOVED for channels of a slot, and to where. It reports false if the slot is to be
// marked later.
func (r *subscriptions) redirected(f *session, slot int, names []string, to string) bool {
	r.lock()
	defer r.mu.Unlock()
	return r.mu.core.Redirected(&f.Session, slot, names, to, time.Now())
}

// unsubscribed notes that a channel is not subscribed on f any more: because we asked for it, or because the slot moved.
func (r *subscriptions) unsubscribed(f *session, name string) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.Unsubscribed(&f.Session, name)
}

// refused notes that SSUBSCRIBE of channels on f failed. With a final error those who wait for them are told; the slot
// is to be marked again.
func (r *subscriptions) refused(f *session, names []string, final error) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.Refused(&f.Session, names, final)
}

// receivesFrom reports whether channels that are wanted arrive from addr.
func (r *subscriptions) receivesFrom(addr string) bool {
	r.lock()
	defer r.mu.Unlock()
	return r.mu.core.ReceivesFrom(addr)
}

// unconfirmed is Subscriber.Unconfirmed.
func (r *subscriptions) unconfirmed() map[connkey.Key]int {
	r.lock()
	defer r.mu.Unlock()
	return r.mu.core.Unconfirmed()
}

// all returns every channel.
func (r *subscriptions) all() []*channel {
	r.lock()
	defer r.mu.Unlock()
	listed := r.mu.core.Channels()
	channels := make([]*channel, 0, len(listed))
	for _, ch := range listed {
		channels = append(channels, channelOf(ch))
	}
	return channels
}

// fail ends the waiting of every Subscribe.
func (r *subscriptions) fail(err error) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.Fail(err)
}

// eventChannel returns the channel of that name if it carries events and somebody wants it.
func (r *subscriptions) eventChannel(name string) *channel {
	r.lock()
	defer r.mu.Unlock()
	key := reconcile.ChannelKey{Name: name, Class: r.s.Classes.OfChannel(name)}
	if ch := r.mu.core.Channel(key); ch != nil && ch.Kind() == reconcile.Event && ch.Wanted() {
		return channelOf(ch)
	}
	return nil
}

// wantedClasses reports, by class, which have topics. Control messages are for all topics: with any there is Ordinary.
func (r *subscriptions) wantedClasses() []bool {
	r.lock()
	defer r.mu.Unlock()
	wanted := make([]bool, r.s.Classes.Len())
	for class := range r.s.Classes.All() {
		wanted[class] = r.mu.core.Topic(r.s.Classes.Topic(class)) != nil
	}
	wanted[connkey.Ordinary] = r.mu.core.TopicCount() > 0
	return wanted
}

// channelsOf returns the channels that carry a topic's events; if it is not subscribed to, what became of it before.
func (r *subscriptions) channelsOf(topic string) (channels []*channel, ended Counts) {
	r.lock()
	defer r.mu.Unlock()
	t := r.mu.core.Topic(topic)
	if t == nil {
		return nil, r.mu.ended[topic]
	}
	for _, ch := range t.Channels() {
		if ch.Kind() == reconcile.Event {
			channels = append(channels, channelOf(ch))
		}
	}
	return channels, Counts{}
}

// maxEnded bounds the counts that are kept of topics that are not subscribed to.
const maxEnded = 4096

// keepCountsLocked keeps what became of a topic that is not subscribed to any more.
func (r *subscriptions) keepCountsLocked(topic string, c Counts) {
	if r.mu.ended == nil {
		r.mu.ended = make(map[string]Counts)
	}
	for name := range r.mu.ended {
		if len(r.mu.ended) < maxEnded {
			break
		}
		delete(r.mu.ended, name)
	}
	r.mu.ended[topic] = c
}

// forgetTopic drops what is kept of a topic that is not subscribed to.
func (r *subscriptions) forgetTopic(topic string) {
	r.lock()
	defer r.mu.Unlock()
	delete(r.mu.ended, topic)
}

// forgetCounts drops them: another bus begins.
func (r *subscriptions) forgetCounts() {
	r.lock()
	defer r.mu.Unlock()
	r.mu.ended = nil
}
