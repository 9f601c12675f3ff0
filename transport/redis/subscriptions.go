package redis

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// subscriptions is what is subscribed to, what shall be, and where. It outlives the readers. Its methods do no I/O; readers
// ask it for work and tell it what the servers confirmed.
type subscriptions struct {
	t        *Transport
	topology *topology
	inboxes  atomic.Int32 // how many of control are our inbox, for who only looks whether there is any

	subscribeQueue atomic.Pointer[subscribeCall] // Subscribe calls that are yet to be taken in, the last first

	mu struct {
		sync.Mutex
		topics   map[string]*topicState
		ended    map[string]Ledger // of topics that were subscribed to
		channels map[string]*channel
		control  map[string]*channel // of channels: those the transport listens on for itself
		bySlot   slotLists
		sessions map[string]*session
		// dirty are the slots where desired and confirmed state differ, by the address that should act.
		outOfSync map[string]*slotSet
		// detours are slots that a MOVED put elsewhere than the snapshot does.
		redirects map[int]string
		// trouble is why servers could not be reached, by address, until they are.
		connectErrors map[string]error
		// standbys are where channels are subscribed beside their homes: the addresses of the replicas, by their primary's.
		standbys map[string][]string
		// unconfirmed are those of channels that are wanted and confirmed nowhere; nil: there are none.
		unconfirmed map[*channel]struct{}
	}
}

type topicState struct {
	placement router.Placement
	channels  []*channel     // never changed
	waiting   *subscribeCall // Subscribe calls some of whose channels are not confirmed
}

func newSubscriptions(t *Transport, topology *topology) *subscriptions {
	r := &subscriptions{t: t, topology: topology}
	r.mu.topics = make(map[string]*topicState)
	r.mu.channels = make(map[string]*channel)
	r.mu.control = make(map[string]*channel)
	r.mu.sessions = make(map[string]*session)
	r.mu.outOfSync = make(map[string]*slotSet)
	r.mu.redirects = make(map[int]string)
	r.mu.connectErrors = make(map[string]error)
	r.mu.standbys = topology.replicas()
	return r
}

// removeTopic takes a topic off the list; its Subscribe, if it still waits, fails with why. Nothing of it reaches the sink
// any more when it returns. left are the channels that the servers are yet to be told of.
func (r *subscriptions) removeTopic(topic string, why error) (left []*channel) {
	r.lock()
	defer r.mu.Unlock()
	if state := r.mu.topics[topic]; state != nil {
		return r.removeTopicLocked(state, why)
	}
	return nil
}

func (r *subscriptions) removeTopicLocked(state *topicState, why error) (left []*channel) {
	delete(r.mu.topics, state.placement.Topic)
	r.t.views().unsubscribes(state.placement.Topic)
	state.failLocked(why)
	var last Ledger
	defer func() { r.keepLedgerLocked(state.placement.Topic, last) }()
	for _, ch := range state.channels {
		if r.setRefsLocked(ch, ch.refs-1); ch.refs > 0 {
			continue
		}
		counts, read := ch.stop()
		if ch.kind == eventChannel {
			last.add(counts, read)
		}
		if ch.unsubscribed() {
			r.removeChannelLocked(ch)
			continue
		}
		r.markAtLocked(ch)
		left = append(left, ch)
	}
	return left
}

// removeAll takes every topic off the list.
func (r *subscriptions) removeAll() {
	r.lock()
	topics := slices.Collect(maps.Keys(r.mu.topics))
	r.mu.Unlock()
	for _, topic := range topics {
		r.removeTopic(topic, transport.ErrClosed)
	}
	r.setControlChannels(time.Now(), nil, 0)
}

// unsubscribed reports whether the servers have confirmed that none of the channels is subscribed, or somebody wants it again.
func (r *subscriptions) unsubscribed(channels []*channel) bool {
	r.lock()
	defer r.mu.Unlock()
	for _, ch := range channels {
		if ch.refs == 0 && (ch.confirmedOn != nil || ch.pendingOn != nil) {
			return false
		}
	}
	return true
}

// ownerLocked returns the address where a slot's channels belong; empty if nobody serves it.
func (r *subscriptions) ownerLocked(slot int) string {
	if addr, detour := r.mu.redirects[slot]; detour {
		return addr
	}
	return r.topology.owner(slot)
}

// markLocked gives a slot to the reader of its owner to look at.
func (r *subscriptions) markLocked(slot int) {
	r.markForLocked(r.ownerLocked(slot), slot)
	r.markReplicasLocked(slot)
}

// markAtLocked gives a channel's slot to the readers where it is subscribed.
func (r *subscriptions) markAtLocked(ch *channel) {
	slot := int(ch.slot)
	if ch.confirmedOn != nil {
		r.markForLocked(ch.confirmedOn.addr, slot)
	}
	if ch.pendingOn != nil && ch.pendingOn != ch.confirmedOn {
		r.markForLocked(ch.pendingOn.addr, slot)
	}
	for c := ch.replicas; c != nil; c = c.next {
		r.markForLocked(c.session.addr, slot)
	}
}

func (r *subscriptions) markForLocked(addr string, slot int) {
	outOfSync := r.mu.outOfSync[addr]
	if outOfSync == nil {
		outOfSync = new(slotSet)
		r.mu.outOfSync[addr] = outOfSync
	}
	outOfSync.add(slot)
	if f := r.mu.sessions[addr]; f != nil {
		f.signal()
	}
}

// mark is markLocked for a slot where something did not work out.
func (r *subscriptions) mark(slots []int) {
	r.lock()
	defer r.mu.Unlock()
	for _, slot := range slots {
		r.markLocked(slot)
	}
}

// applyTopology gives every slot whose channels are not where the snapshot says to the reader that should have them.
func (r *subscriptions) applyTopology(changes router.Changes) {
	r.lock()
	defer r.mu.Unlock()
	for _, move := range changes.Slots {
		r.slotsMovedLocked(move)
	}
	clear(r.mu.redirects)
	r.mu.standbys = r.topology.replicas()
	maps.DeleteFunc(r.mu.connectErrors, func(addr string, _ error) bool {
		_, known := r.topology.snapshot.Load().NodeShard(addr)
		return !known
	})
	r.mu.outOfSync = make(map[string]*slotSet, len(r.mu.outOfSync))
	for slot := range r.mu.bySlot.slots() {
		owner := r.topology.owner(slot)
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			r.promoteLocked(ch, owner)
			if ch.refs > 0 && (ch.confirmedOn == nil || ch.confirmedOn.addr != owner) {
				r.markForLocked(owner, slot)
			}
			if ch.refs == 0 {
				r.markAtLocked(ch)
			}
		}
		r.markReplicasLocked(slot)
	}
}

// slotsMovedLocked notes why slots have another owner, where two are known.
func (r *subscriptions) slotsMovedLocked(move router.SlotMove) {
	if move.From == (router.Node{}) || move.To == (router.Node{}) {
		return
	}
	reason := transport.Migration
	if move.SameShard {
		reason = transport.FailOver
	}
	for slot := move.Slots.From; slot <= move.Slots.To; slot++ {
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			if ch.refs > 0 && (ch.confirmedOn == nil || ch.confirmedOn.addr != move.To.Addr) {
				ch.moveReason = reason
				ch.fault(reason)
			}
		}
	}
}

// sessionUp lists a reader's new connection.
func (r *subscriptions) sessionUp(f *session) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.sessions[f.addr] = f
	delete(r.mu.connectErrors, f.addr)
	f.signal()
}

// sessionLost notes that a connection has ended, with everything that was subscribed on it.
func (r *subscriptions) sessionLost(f *session) {
	r.lock()
	defer r.mu.Unlock()
	if r.mu.sessions[f.addr] == f {
		delete(r.mu.sessions, f.addr)
	}
	maps.DeleteFunc(r.mu.redirects, func(_ int, addr string) bool { return addr == f.addr })
	for _, ch := range r.mu.channels {
		if ch.pendingOn == f {
			ch.pendingOn = nil
			r.lostLocked(ch)
		}
		if ch.confirmedOn == f {
			r.setConfirmedOnLocked(ch, nil)
			r.lostLocked(ch)
		}
		r.replicaLostLocked(ch, f)
	}
}

// lostLocked notes that a channel is not subscribed where it was.
func (r *subscriptions) lostLocked(ch *channel) {
	ch.unsubscribing = false
	if ch.refs == 0 {
		if ch.unsubscribed() {
			r.removeChannelLocked(ch)
		}
		return
	}
	ch.fault(transport.Disconnected) // for now: where it is confirmed next tells more
	r.markLocked(int(ch.slot))
}

// slotCommands is what a reader has to do in one slot.
type slotCommands struct {
	slot                   int
	subscribe, unsubscribe []string
}

// commands returns what f has to do, and notes that it is being done.
func (r *subscriptions) commands(f *session) []slotCommands {
	r.lock()
	defer r.mu.Unlock()
	slots := r.mu.outOfSync[f.addr]
	if slots == nil {
		return nil
	}
	delete(r.mu.outOfSync, f.addr)
	n := slots.len()
	tasks := make([]slotCommands, 0, n)
	names := make([]string, 0, 2*n) // of all tasks, which have parts of it
	for slot := range slots.all() {
		todo := slotCommands{slot: slot, subscribe: names[len(names):]}
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			switch {
			case ch.refs > 0 && ch.confirmedOn != f && ch.pendingOn == nil && r.ownerLocked(slot) == f.addr:
				ch.pendingOn = f
				todo.subscribe = append(todo.subscribe, ch.name)
			case ch.refs == 0 && ch.confirmedOn == f && !ch.unsubscribing:
				ch.unsubscribing = true
				todo.unsubscribe = append(todo.unsubscribe, ch.name)
			default:
				r.replicaCommandLocked(ch, f, &todo)
			}
		}
		if n := len(todo.subscribe); n <= cap(names)-len(names) {
			names, todo.subscribe = names[:len(names)+n], slices.Clip(todo.subscribe)
		}
		if len(todo.subscribe)+len(todo.unsubscribe) > 0 {
			tasks = append(tasks, todo)
		}
	}
	return tasks
}

// redirected notes that f answered MOVED for channels of a slot, and to where. It reports false if the slot is to be
// marked later: the node named is not one we are connected to, or somebody has sent us elsewhere already and they may
// not agree.
func (r *subscriptions) redirected(f *session, slot int, names []string, to string) bool {
	r.lock()
	defer r.mu.Unlock()
	_, again := r.mu.redirects[slot]
	if r.mu.sessions[to] == nil || to == f.addr || !r.pendingOnLocked(f, names) {
		return false
	}
	r.mu.redirects[slot] = to
	for _, name := range names {
		if ch := r.mu.channels[name]; ch != nil && ch.pendingOn == f {
			ch.pendingOn = nil
			if ch.refs == 0 && ch.unsubscribed() {
				r.removeChannelLocked(ch)
			}
		}
	}
	if !again {
		r.markLocked(slot)
	}
	return !again
}

// unsubscribedByServer notes that a channel is not subscribed on f any more: because we asked for it, or because the slot moved.
func (r *subscriptions) unsubscribedByServer(f *session, name string) {
	r.lock()
	defer r.mu.Unlock()
	ch := r.mu.channels[name]
	if ch == nil {
		return
	}
	if c := ch.replicaOn(f); c != nil {
		r.replicaLostLocked(ch, f)
		if c.state != replicaLeaving && r.isReplicaLocked(f.addr, int(ch.slot)) {
			r.topology.suspect()
		}
	}
	if ch.confirmedOn != f {
		return
	}
	asked := ch.unsubscribing
	r.setConfirmedOnLocked(ch, nil)
	r.lostLocked(ch)
	if !asked {
		r.topology.suspect()
	}
}

// refused notes that SSUBSCRIBE of channels on f failed. With a final error those who wait for them are told;
// else the slot is to be marked again.
func (r *subscriptions) refused(f *session, names []string, final error) {
	r.lock()
	defer r.mu.Unlock()
	for _, name := range names {
		ch := r.mu.channels[name]
		if ch == nil {
			continue
		}
		if ch.pendingOn != f {
			r.replicaRefusedLocked(ch, f)
			continue
		}
		ch.pendingOn = nil
		if ch.refs == 0 {
			if ch.unsubscribed() {
				r.removeChannelLocked(ch)
			}
			continue
		}
		if final != nil {
			ch.failLocked(final)
		}
	}
}

// delivers reports whether channels that are wanted arrive from addr only.
func (r *subscriptions) delivers(addr string) bool {
	r.lock()
	defer r.mu.Unlock()
	for _, ch := range r.mu.channels {
		if ch.refs > 0 && ch.confirmedOn != nil && ch.confirmedOn.addr == addr {
			return true
		}
	}
	return false
}

// all returns every channel.
func (r *subscriptions) all() []*channel {
	r.lock()
	defer r.mu.Unlock()
	channels := make([]*channel, 0, len(r.mu.channels))
	for _, ch := range r.mu.channels {
		channels = append(channels, ch)
	}
	return channels
}

// fail ends the waiting of every Subscribe.
func (r *subscriptions) fail(err error) {
	r.lock()
	defer r.mu.Unlock()
	for _, state := range r.mu.topics {
		state.failLocked(err)
	}
}
