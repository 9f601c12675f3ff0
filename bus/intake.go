package bus

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/mailbox"
	"github.com/shardbus/shardbus/transport"
)

// intake is where a topic's events enter the mailboxes of its subscriptions.
//
// One lock serialises all publishers of the topic. That makes each mailbox a
// queue with a single producer, gives all subscriptions one order of events,
// and lets a publish see that every mailbox has room before it enters any: a
// publish that gives up entered none. No user code runs under the lock.
type intake[T any] struct {
	topic *Topic[T]
	bus   *Bus // topic.bus, one step nearer

	// keyed says that some subscription needs the key of an event to choose a
	// lane. It is set under mu, and read without it to compute keys, which is
	// user code, before locking.
	keyed atomic.Bool

	mu struct {
		sync.Mutex
		// log holds the events of all subscriptions that share it, each with
		// a cursor of its own; nil when there are none.
		log   *mailbox.Log[cell[T]]
		lanes []*lane[T] // that read log; never changed, but replaced
		// slow says that the short way in, publishLog, is barred: some
		// subscription has mailboxes of its own, or there is none.
		slow      bool
		stale     bool             // log, lanes, own, solo and slow must be found anew; then slow is true and solo nil
		solo      *subscription[T] // see publishLane
		seq       uint64
		published uint64
		unrouted  uint64
		own       []*subscription[T] // those that don't share log
		subs      []*subscription[T]
		index     map[string]int // name → place in subs; made for many
		manyLanes int            // of subs, those with more than one lane
		laggard   int            // of lanes, where sweep begins to look
		free      []*waiter      // waiters to use again; channels must stay with their bus
		strangers *strangers     // nil until the first
	}
}

// cell is what a mailbox holds: a typed event, or an envelope and room for the
// value that it decodes to.
type cell[T any] struct {
	head
	v T
}

// keySeed makes the key → lane choice differ between processes: nobody should
// come to rely on it.
var keySeed = maphash.MakeSeed()

// keyHash is what a lane is chosen by; 0 stands for no key.
func keyHash(key string) uint64 {
	if key == "" {
		return 0
	}
	return maphash.String(keySeed, key) | 1
}

// hash is the key hash of v where any subscription needs one.
func (in *intake[T]) hash(v T) (hash uint64, keyed bool) {
	if !in.keyed.Load() {
		return 0, false
	}
	return in.hashOf(v), true
}

// hashOf is the key hash of v.
func (in *intake[T]) hashOf(v T) uint64 {
	if in.topic.cfg.Key == nil {
		return 0
	}
	return keyHash(in.topic.cfg.Key(v))
}

// publish offers c to every subscription, or to only where that is not nil, and
// waits, while ctx lasts, for those whose mailbox is full and whose policy is
// Block.
func (in *intake[T]) publish(ctx context.Context, c *cell[T], only *subscription[T]) error {
	hash, keyed := in.hash(c.v)
	if only == nil && (keyed && in.publishLane(c, hash) || !keyed && in.publishLog(c)) {
		return nil
	}
	if only != nil && c.seq == 0 { // an envelope, offered again
		hash, keyed = keyHash(c.env.Key), true
	}
	p := producer{ctx: ctx}
	in.mu.Lock()
	for {
		if in.keyed.Load() && !keyed { // a subscription with lanes came meanwhile
			in.mu.Unlock()
			hash, keyed = in.hash(c.v)
			in.mu.Lock()
			continue
		}
		if p.refusedBy(in.bus) {
			in.mu.Unlock()
			if err := p.admit(in.bus); err != nil {
				return &Error{Op: "publish", Topic: in.topic.info.name, Err: err}
			}
			in.mu.Lock()
			continue
		}
		if only != nil && only.ctl.Load()&ctlLeft != 0 {
			in.mu.Unlock()
			return &Error{Op: "publish", Topic: in.topic.info.name, Subscription: only.name, Err: ErrClosed}
		}
		full := in.pick(hash, only)
		if full == nil {
			break
		}
		if err := in.awaitRoom(&p, full, hash); err != nil {
			in.mu.Unlock()
			return err
		}
	}
	lost := in.put(c, only)
	in.commit(only)
	in.mu.Unlock()
	if lost {
		in.reportDrops()
	}
	return nil
}

// publishLog is the short way in where all subscriptions share the log and have
// room; else it does nothing and reports false.
func (in *intake[T]) publishLog(c *cell[T]) bool {
	in.mu.Lock()
	log := in.mu.log
	if in.mu.slow || log == nil || !log.Free() && in.extend() != nil || in.bus.state.Load() != stateOpen {
		in.mu.Unlock()
		return false
	}
	in.mu.published++
	in.mu.seq++
	to := log.Slot()
	to.v, to.env, to.at, to.seq = c.v, c.env, c.at, in.mu.seq
	log.CommitBeforeFence()
	lanes := in.mu.lanes
	in.mu.Unlock()
	for _, l := range lanes {
		l.wake()
	}
	return true
}

// publishLane is the short way in where there is one subscription, with lanes, that
// drops nothing, and the event's lane has room; else it does nothing and reports
// false.
func (in *intake[T]) publishLane(c *cell[T], hash uint64) bool {
	in.mu.Lock()
	s := in.mu.solo
	if s == nil || in.bus.state.Load() != stateOpen {
		in.mu.Unlock()
		return false
	}
	l := s.choose(hash)
	if l.full() {
		in.mu.Unlock()
		return false
	}
	in.mu.published++
	in.mu.seq++
	to := l.log.Slot()
	to.v, to.env, to.at, to.seq = c.v, c.env, c.at, in.mu.seq
	l.log.CommitBeforeFence()
	in.mu.Unlock()
	l.wake()
	return true
}

// extend finds room in the log, and returns a lane that has none, if there is one.
func (in *intake[T]) extend() (full *lane[T]) {
	log := in.mu.log
	if log == nil || log.Free() {
		return nil
	}
	taken, room := uint64(math.MaxUint64), uint64(math.MaxUint64)
	for _, l := range in.mu.lanes {
		t := l.taken()
		taken = min(taken, t)
		if r := t + uint64(l.capacity); r < room {
			room, full = r, l
		}
	}
	if log.Extend(taken, room) {
		return nil
	}
	return full
}

// pick chooses the lane of every subscription for an event with that key hash,
// and returns a lane that must have room first, or nil.
func (in *intake[T]) pick(hash uint64, only *subscription[T]) (full *lane[T]) {
	if only != nil {
		only.makeOwn()
	}
	if in.mu.stale {
		in.refresh()
	}
	if only != nil {
		return only.pick(hash)
	}
	if l := in.extend(); l != nil {
		return l
	}
	for _, s := range in.mu.own {
		if l := s.pick(hash); l != nil {
			return l
		}
	}
	return nil
}

// put enters the event where pick has found room, and reports whether drops are
// to be told.
func (in *intake[T]) put(c *cell[T], only *subscription[T]) (lost bool) {
	if only != nil {
		return only.picked.put(c)
	}
	in.mu.published++
	in.mu.seq++
	c.seq = in.mu.seq
	if len(in.mu.subs) == 0 {
		in.mu.unrouted++
		return false
	}
	if in.mu.log != nil {
		in.mu.log.Put(c)
	}
	for _, s := range in.mu.own {
		if s.picked.put(c) {
			lost = true
		}
	}
	return lost
}

// commit shows the lanes what was put, and wakes those that sleep.
func (in *intake[T]) commit(only *subscription[T]) {
	if only != nil {
		only.commit()
		return
	}
	in.commitLog()
	for _, s := range in.mu.own {
		s.commit()
	}
}

func (in *intake[T]) commitLog() {
	if in.mu.log == nil {
		return
	}
	in.mu.log.Commit()
	for _, l := range in.mu.lanes {
		l.wake()
	}
}

// deliver enters an envelope off the transport. It never blocks: what finds a
// mailbox full waits in the lane's inbox, and what finds that full too is
// dropped and reported as a gap.
func (in *intake[T]) deliver(env *transport.Envelope) {
	if b := in.bus; b.state.Load() != stateOpen && env.Publisher != b.id {
		return // the bus is leaving; only what its own handlers publish it still takes
	}
	if !in.strange(env) {
		in.enter(env)
	} else if !in.welcome(env) {
		in.overflowed(env)
	}
}

// enter offers an envelope to every subscription.
func (in *intake[T]) enter(env *transport.Envelope) {
	hash := keyHash(env.Key)
	c := cell[T]{head: head{env: env}}
	lost := false
	var overflow []*subscription[T]
	in.mu.Lock()
	if in.bus.state.Load() == stateClosed {
		in.mu.Unlock()
		return
	}
	in.mu.published++
	if len(in.mu.subs) == 0 {
		in.mu.unrouted++
	}
	for _, s := range in.mu.subs { // off a transport nobody shares a log
		switch s.receive(&c, hash) {
		case receivedDropped:
			lost = true
		case receivedOverflow:
			overflow = append(overflow, s)
		case receivedOK:
		}
		s.commit()
	}
	in.mu.Unlock()
	if lost {
		in.reportDrops()
	}
	if len(overflow) == 0 {
		return
	}
	now := time.Now()
	for _, s := range overflow {
		s.reportOverflow(env, now)
	}
}

// reportDrops logs the drops that are due to be told.
func (in *intake[T]) reportDrops() {
	type due struct {
		s       *subscription[T]
		dropped uint64
	}
	var reports []due
	in.mu.Lock()
	for _, s := range in.mu.subs {
		if s.tellDrops {
			s.tellDrops = false
			reports = append(reports, due{s, s.dropped})
		}
	}
	in.mu.Unlock()
	for _, r := range reports {
		r.s.log().Warn("the mailbox was full and events were dropped",
			zap.Uint64("dropped", r.dropped), zap.Stringer("policy", r.s.opts.policy), zap.Int("capacity", r.s.opts.capacity))
	}
}

// add makes s receive the topic's events from now on.
func (in *intake[T]) add(s *subscription[T]) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	// Under the lock, so that Shutdown, which sets the state first and then
	// visits every topic under its lock, sees either no s or all of it.
	if in.bus.state.Load() != stateOpen {
		return ErrClosed
	}
	if in.find(s.name) >= 0 {
		return ErrDuplicateSubscription
	}
	if in.mu.index != nil {
		in.mu.index[s.name] = len(in.mu.subs)
	}
	in.mu.subs = append(in.mu.subs, s)
	if len(in.mu.subs) > indexAt && in.mu.index == nil {
		in.mu.index = make(map[string]int)
		for i, s := range in.mu.subs {
			in.mu.index[s.name] = i
		}
	}
	if len(s.lanes) > 1 {
		in.mu.manyLanes++
		in.keyed.Store(true)
	}
	in.changed()
	return nil
}

// indexAt is up to how many subscriptions of a topic are looked for one by one.
const indexAt = 8

// find is the place of the subscription of that name in subs, or -1.
func (in *intake[T]) find(name string) int {
	if in.mu.index != nil {
		if i, ok := in.mu.index[name]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(in.mu.subs, func(s *subscription[T]) bool { return s.name == name })
}

// remove ends s's intake and sends away who waits for its room. It reports how
// many subscriptions are left, and whether s was there.
func (in *intake[T]) remove(s *subscription[T]) (left int, was bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := in.find(s.name)
	if was = i >= 0 && in.mu.subs[i] == s; was {
		last := len(in.mu.subs) - 1
		moved := in.mu.subs[last]
		in.mu.subs[i], in.mu.subs[last] = moved, nil
		in.mu.subs = in.mu.subs[:last]
		if in.mu.index != nil {
			in.mu.index[moved.name] = i
			delete(in.mu.index, s.name)
		}
		if len(s.lanes) > 1 {
			in.mu.manyLanes--
			in.keyed.Store(in.mu.manyLanes > 0)
		}
		in.changed()
		if l := s.lanes[0]; s.shares && l != nil {
			l.reader.Turn(false)
			in.forgetReader(l)
		}
	}
	for _, l := range s.lanes {
		if l != nil {
			l.wakeWaiters()
		}
	}
	return len(in.mu.subs), was
}
