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

// registry is what is subscribed to, what shall be, and where. It outlives the readers. Its methods do no I/O; readers
// ask it for work and tell it what the servers confirmed.
type registry struct {
	t        *Transport
	topology *topology
	inboxes  atomic.Int32 // how many of control are our inbox, for who only looks whether there is any

	entering atomic.Pointer[await] // Subscribe calls that are yet to be taken in, the last first

	mu struct {
		sync.Mutex
		topics   map[string]*topicState
		ended    map[string]Ledger // of topics that were subscribed to
		channels map[string]*channel
		control  map[string]*channel // of channels: those the transport listens on for itself
		bySlot   slotLists
		feeds    map[string]*feed
		// dirty are the slots where desired and confirmed state differ, by the address that should act.
		dirty map[string]*slotSet
		// detours are slots that a MOVED put elsewhere than the snapshot does.
		detours map[int]string
		// trouble is why servers could not be reached, by address, until they are.
		trouble map[string]error
		// standbys are where channels are subscribed beside their homes: the addresses of the replicas, by their primary's.
		standbys map[string][]string
		// unconfirmed are those of channels that are wanted and confirmed nowhere; nil: there are none.
		unconfirmed map[*channel]struct{}
	}
}

type topicState struct {
	placement router.Placement
	channels  []*channel // never changed
	waiting   *await     // Subscribe calls some of whose channels are not confirmed
}

func newRegistry(t *Transport, topology *topology) *registry {
	r := &registry{t: t, topology: topology}
	r.mu.topics = make(map[string]*topicState)
	r.mu.channels = make(map[string]*channel)
	r.mu.control = make(map[string]*channel)
	r.mu.feeds = make(map[string]*feed)
	r.mu.dirty = make(map[string]*slotSet)
	r.mu.detours = make(map[int]string)
	r.mu.trouble = make(map[string]error)
	r.mu.standbys = topology.standbys()
	return r
}

// unwant takes a topic off the list; its Subscribe, if it still waits, fails with why. Nothing of it reaches the sink
// any more when it returns. left are the channels that the servers are yet to be told of.
func (r *registry) unwant(topic string, why error) (left []*channel) {
	r.lock()
	defer r.mu.Unlock()
	if state := r.mu.topics[topic]; state != nil {
		return r.unwantLocked(state, why)
	}
	return nil
}

func (r *registry) unwantLocked(state *topicState, why error) (left []*channel) {
	delete(r.mu.topics, state.placement.Topic)
	r.t.views().unsubscribes(state.placement.Topic)
	state.failLocked(why)
	var last Ledger
	defer func() { r.keepLedgerLocked(state.placement.Topic, last) }()
	for _, ch := range state.channels {
		if r.setUsersLocked(ch, ch.users-1); ch.users > 0 {
			continue
		}
		counts, read := ch.mute()
		if ch.kind == eventChannel {
			last.add(counts, read)
		}
		if ch.nowhere() {
			r.dropLocked(ch)
			continue
		}
		r.markAtLocked(ch)
		left = append(left, ch)
	}
	return left
}

// forget takes every topic off the list.
func (r *registry) forget() {
	r.lock()
	topics := slices.Collect(maps.Keys(r.mu.topics))
	r.mu.Unlock()
	for _, topic := range topics {
		r.unwant(topic, transport.ErrClosed)
	}
	r.listen(time.Now(), nil, 0)
}

// gone reports whether the servers have confirmed that none of the channels is subscribed, or somebody wants it again.
func (r *registry) gone(channels []*channel) bool {
	r.lock()
	defer r.mu.Unlock()
	for _, ch := range channels {
		if ch.users == 0 && (ch.home != nil || ch.asked != nil) {
			return false
		}
	}
	return true
}

// ownerLocked returns the address where a slot's channels belong; empty if nobody serves it.
func (r *registry) ownerLocked(slot int) string {
	if addr, detour := r.mu.detours[slot]; detour {
		return addr
	}
	return r.topology.owner(slot)
}

// markLocked gives a slot to the reader of its owner to look at.
func (r *registry) markLocked(slot int) {
	r.markForLocked(r.ownerLocked(slot), slot)
	r.markStandbysLocked(slot)
}

// markAtLocked gives a channel's slot to the readers where it is subscribed.
func (r *registry) markAtLocked(ch *channel) {
	slot := int(ch.slot)
	if ch.home != nil {
		r.markForLocked(ch.home.addr, slot)
	}
	if ch.asked != nil && ch.asked != ch.home {
		r.markForLocked(ch.asked.addr, slot)
	}
	for c := ch.copies; c != nil; c = c.next {
		r.markForLocked(c.feed.addr, slot)
	}
}

func (r *registry) markForLocked(addr string, slot int) {
	dirty := r.mu.dirty[addr]
	if dirty == nil {
		dirty = new(slotSet)
		r.mu.dirty[addr] = dirty
	}
	dirty.add(slot)
	if f := r.mu.feeds[addr]; f != nil {
		f.signal()
	}
}

// mark is markLocked for a slot where something did not work out.
func (r *registry) mark(slots []int) {
	r.lock()
	defer r.mu.Unlock()
	for _, slot := range slots {
		r.markLocked(slot)
	}
}

// rehome gives every slot whose channels are not where the snapshot says to the reader that should have them.
func (r *registry) rehome(changes router.Changes) {
	r.lock()
	defer r.mu.Unlock()
	for _, move := range changes.Slots {
		r.movedLocked(move)
	}
	clear(r.mu.detours)
	r.mu.standbys = r.topology.standbys()
	maps.DeleteFunc(r.mu.trouble, func(addr string, _ error) bool {
		_, known := r.topology.snapshot.Load().NodeShard(addr)
		return !known
	})
	r.mu.dirty = make(map[string]*slotSet, len(r.mu.dirty))
	for slot := range r.mu.bySlot.slots() {
		owner := r.topology.owner(slot)
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			r.promoteLocked(ch, owner)
			if ch.users > 0 && (ch.home == nil || ch.home.addr != owner) {
				r.markForLocked(owner, slot)
			}
			if ch.users == 0 {
				r.markAtLocked(ch)
			}
		}
		r.markStandbysLocked(slot)
	}
}

// movedLocked notes why slots have another owner, where two are known.
func (r *registry) movedLocked(move router.SlotMove) {
	if move.From == (router.Node{}) || move.To == (router.Node{}) {
		return
	}
	reason := transport.Migration
	if move.SameShard {
		reason = transport.FailOver
	}
	for slot := move.Slots.From; slot <= move.Slots.To; slot++ {
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			if ch.users > 0 && (ch.home == nil || ch.home.addr != move.To.Addr) {
				ch.moved = reason
				ch.fault(reason)
			}
		}
	}
}

// attach lists a reader's new connection.
func (r *registry) attach(f *feed) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.feeds[f.addr] = f
	delete(r.mu.trouble, f.addr)
	f.signal()
}

// detach notes that a connection has ended, with everything that was subscribed on it.
func (r *registry) detach(f *feed) {
	r.lock()
	defer r.mu.Unlock()
	if r.mu.feeds[f.addr] == f {
		delete(r.mu.feeds, f.addr)
	}
	maps.DeleteFunc(r.mu.detours, func(_ int, addr string) bool { return addr == f.addr })
	for _, ch := range r.mu.channels {
		if ch.asked == f {
			ch.asked = nil
			r.loseLocked(ch)
		}
		if ch.home == f {
			r.setHomeLocked(ch, nil)
			r.loseLocked(ch)
		}
		r.loseCopyLocked(ch, f)
	}
}

// loseLocked notes that a channel is not subscribed where it was.
func (r *registry) loseLocked(ch *channel) {
	ch.leaving = false
	if ch.users == 0 {
		if ch.nowhere() {
			r.dropLocked(ch)
		}
		return
	}
	ch.fault(transport.Disconnected) // for now: where it is confirmed next tells more
	r.markLocked(int(ch.slot))
}

// task is what a reader has to do in one slot.
type task struct {
	slot         int
	enter, leave []string
}

// tasks returns what f has to do, and notes that it is being done.
func (r *registry) tasks(f *feed) []task {
	r.lock()
	defer r.mu.Unlock()
	slots := r.mu.dirty[f.addr]
	if slots == nil {
		return nil
	}
	delete(r.mu.dirty, f.addr)
	n := slots.len()
	tasks := make([]task, 0, n)
	names := make([]string, 0, 2*n) // of all tasks, which have parts of it
	for slot := range slots.all() {
		todo := task{slot: slot, enter: names[len(names):]}
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			switch {
			case ch.users > 0 && ch.home != f && ch.asked == nil && r.ownerLocked(slot) == f.addr:
				ch.asked = f
				todo.enter = append(todo.enter, ch.name)
			case ch.users == 0 && ch.home == f && !ch.leaving:
				ch.leaving = true
				todo.leave = append(todo.leave, ch.name)
			default:
				r.copyTaskLocked(ch, f, &todo)
			}
		}
		if n := len(todo.enter); n <= cap(names)-len(names) {
			names, todo.enter = names[:len(names)+n], slices.Clip(todo.enter)
		}
		if len(todo.enter)+len(todo.leave) > 0 {
			tasks = append(tasks, todo)
		}
	}
	return tasks
}

// redirected notes that f answered MOVED for channels of a slot, and to where. It reports false if the slot is to be
// marked later: the node named is not one we are connected to, or somebody has sent us elsewhere already and they may
// not agree.
func (r *registry) redirected(f *feed, slot int, names []string, to string) bool {
	r.lock()
	defer r.mu.Unlock()
	_, again := r.mu.detours[slot]
	if r.mu.feeds[to] == nil || to == f.addr || !r.homingLocked(f, names) {
		return false
	}
	r.mu.detours[slot] = to
	for _, name := range names {
		if ch := r.mu.channels[name]; ch != nil && ch.asked == f {
			ch.asked = nil
			if ch.users == 0 && ch.nowhere() {
				r.dropLocked(ch)
			}
		}
	}
	if !again {
		r.markLocked(slot)
	}
	return !again
}

// released notes that a channel is not subscribed on f any more: because we asked for it, or because the slot moved.
func (r *registry) released(f *feed, name string) {
	r.lock()
	defer r.mu.Unlock()
	ch := r.mu.channels[name]
	if ch == nil {
		return
	}
	if c := ch.copyOn(f); c != nil {
		r.loseCopyLocked(ch, f)
		if c.state != copyLeaving && r.standsByLocked(f.addr, int(ch.slot)) {
			r.topology.suspect()
		}
	}
	if ch.home != f {
		return
	}
	asked := ch.leaving
	r.setHomeLocked(ch, nil)
	r.loseLocked(ch)
	if !asked {
		r.topology.suspect()
	}
}

// refused notes that SSUBSCRIBE of channels on f failed. With a final error those who wait for them are told;
// else the slot is to be marked again.
func (r *registry) refused(f *feed, names []string, final error) {
	r.lock()
	defer r.mu.Unlock()
	for _, name := range names {
		ch := r.mu.channels[name]
		if ch == nil {
			continue
		}
		if ch.asked != f {
			r.refuseCopyLocked(ch, f)
			continue
		}
		ch.asked = nil
		if ch.users == 0 {
			if ch.nowhere() {
				r.dropLocked(ch)
			}
			continue
		}
		if final != nil {
			ch.failLocked(final)
		}
	}
}

// delivers reports whether channels that are wanted arrive from addr only.
func (r *registry) delivers(addr string) bool {
	r.lock()
	defer r.mu.Unlock()
	for _, ch := range r.mu.channels {
		if ch.users > 0 && ch.home != nil && ch.home.addr == addr {
			return true
		}
	}
	return false
}

// all returns every channel.
func (r *registry) all() []*channel {
	r.lock()
	defer r.mu.Unlock()
	channels := make([]*channel, 0, len(r.mu.channels))
	for _, ch := range r.mu.channels {
		channels = append(channels, ch)
	}
	return channels
}

// fail ends the waiting of every Subscribe.
func (r *registry) fail(err error) {
	r.lock()
	defer r.mu.Unlock()
	for _, state := range r.mu.topics {
		state.failLocked(err)
	}
}
