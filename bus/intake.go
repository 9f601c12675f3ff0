package bus

import (
	"context"
	"hash/maphash"
	"math"
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
//
// What Publish touches where one subscription reads the log fills the first cache
// line: among thousands of topics, each line is one more to be fetched.
type intake[T any] struct {
	bus *Bus // topic.bus, one step nearer

	// keyed says that some subscription needs the key of an event: to choose a
	// lane, or to find what it replaces. It is set under mu, and read without it to
	// compute keys, which is user code, before locking. latest counts those with
	// the policy KeepLatest, in the same way.
	keyed  atomic.Bool
	latest atomic.Int32
	stamp  bool // topic.cfg.Stamp, likewise
	// long says that the short ways in, publishLog and publishLane, are barred, so that
	// nobody locks mu to find that out.
	long atomic.Bool

	mu struct {
		sync.Mutex
		// slow says that the short way in, publishLog, is barred: some
		// subscription has mailboxes of its own, or there is none.
		slow  bool
		stale bool // log, lanes, one, own, solo and slow must be found anew; then slow is true and solo nil
		// log holds the events of all subscriptions that share it, each with
		// a cursor of its own; nil when there are none.
		log       *mailbox.Log[cell[T]]
		one       *lane[T]         // lanes[0] where there is no other, else nil
		seq       uint64           // of events published here
		lanes     []*lane[T]       // that read log; never changed, but replaced
		solo      *subscription[T] // see publishLane
		received  uint64           // events off the transport
		unrouted  uint64
		own       []*subscription[T] // those that don't share log
		subs      []*subscription[T] // of each group its head, in place of the members
		index     map[string]int     // name → place in subs; of a group's member -1; see findLocked
		groups    map[string]*group[T]
		total     int        // of subscriptions, group members included
		needKey   int        // of subs, those that need keys
		key       string     // of the event being put, while latest is not 0
		laggard   int        // of lanes, where sweep begins to look
		free      []*waiter  // waiters to use again; channels must stay with their bus
		strangers *strangers // nil until the first
	}
	topic *Topic[T]
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

// ident is what an event's mailboxes are chosen by.
type ident struct {
	hash  uint64 // keyHash of key
	key   string
	known bool // else no subscription needed it when it was looked for
}

// identify finds the ident of v where any subscription needs it.
func (in *intake[T]) identify(v T) ident {
	if !in.keyed.Load() {
		return ident{}
	}
	key := in.keyFor(v)
	return ident{hash: keyHash(key), key: key, known: true}
}

// keyFor is the key of v; it calls user code.
func (in *intake[T]) keyFor(v T) string {
	if in.topic.cfg.Key == nil {
		return ""
	}
	return in.topic.cfg.Key(v)
}

// nameLocked keeps the key of the event about to be put, for mailboxes that need it.
func (in *intake[T]) nameLocked(key string) {
	if in.latest.Load() > 0 {
		in.mu.key = key
	}
}

// publish offers c to every subscription, or to only where that is not nil, and
// waits, while ctx lasts, for those whose mailbox is full and whose policy is
// Block. id is c's, unless it is not known. A receipt, where it is not nil, is told how
// many they were.
func (in *intake[T]) publish(ctx context.Context, c *cell[T], id ident, only *subscription[T], receipt *Receipt) error {
	switch {
	case id.known:
	case only != nil && c.seq == 0: // an envelope, offered again
		id = ident{hash: keyHash(c.env.Key), key: c.env.Key, known: true}
	default:
		id = in.identify(c.v)
	}
	p := producer{ctx: ctx}
	in.mu.Lock()
	for {
		if in.keyed.Load() && !id.known { // a subscription that needs keys came meanwhile
			in.mu.Unlock()
			id = in.identify(c.v)
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
		full := in.pick(id.hash, only)
		if full == nil {
			break
		}
		if err := in.awaitRoom(&p, full, id.hash); err != nil {
			in.mu.Unlock()
			return err
		}
	}
	in.nameLocked(id.key)
	lost := in.put(c, only)
	receipt.entered(len(in.mu.subs), true)
	in.commit(only)
	in.mu.Unlock()
	if lost {
		in.reportDrops()
	}
	return nil
}

// publishPlain is the short way in for an event without options, where every mailbox
// that it enters has room; else it only finds the event's ident, and reports false.
func (in *intake[T]) publishPlain(v *T) (id ident, entered bool) {
	if id = in.identify(*v); in.long.Load() {
		return id, false
	}
	var at int64
	if in.stamp {
		at = time.Now().UnixNano()
	}
	if id.known {
		return id, in.publishLane(v, at, id.hash)
	}
	return id, in.publishLog(v, at)
}

// publishLog is publishPlain where all subscriptions share the log.
func (in *intake[T]) publishLog(v *T, at int64) bool {
	in.mu.Lock()
	log := in.mu.log
	if in.mu.slow || !log.Free() && in.extend() != nil || in.bus.state.Load() != stateOpen {
		in.mu.Unlock()
		return false
	}
	in.mu.seq++
	to := log.Slot()
	to.v, to.env, to.at, to.seq = *v, nil, at, in.mu.seq
	log.CommitBeforeFence()
	if l := in.mu.one; l != nil {
		in.mu.Unlock()
		l.wake()
		return true
	}
	lanes := in.mu.lanes
	in.mu.Unlock()
	for _, l := range lanes {
		l.wake()
	}
	return true
}

// publishLane is publishPlain where there is one subscription, with lanes, that drops
// nothing. hash is that of the event's key.
func (in *intake[T]) publishLane(v *T, at int64, hash uint64) bool {
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
	in.mu.seq++
	to := l.log.Slot()
	to.v, to.env, to.at, to.seq = *v, nil, at, in.mu.seq
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
		in.enter(env, false)
	} else if !in.welcome(env) {
		in.overflowed(env)
	}
}

// enter offers an envelope to every subscription; foreign says that it comes out of the
// queue of strangers.
func (in *intake[T]) enter(env *transport.Envelope, foreign bool) {
	hash := keyHash(env.Key)
	c := cell[T]{head: head{env: env}}
	lost := false
	var overflow []*subscription[T]
	in.mu.Lock()
	if foreign {
		in.mu.strangers.inHand = nil
	}
	if in.bus.state.Load() == stateClosed {
		in.mu.Unlock()
		return
	}
	in.nameLocked(env.Key)
	in.mu.received++
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
	own := env.Publisher == in.bus.id
	if own {
		in.topic.link.loopback.arrive(env.Partition, env.Seq)
	}
	in.mu.Unlock()
	if own {
		in.bus.settled.notify()
	}
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
	for s := range in.allLocked() {
		if s.tellDrops {
			s.tellDrops = false
			reports = append(reports, due{s, s.crowdedOut})
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
	if _, ok := in.findLocked(s.name); ok {
		return ErrDuplicateSubscription
	}
	if s.opts.grouped {
		in.makeIndexLocked()
		in.mu.index[s.name] = -1
		in.joinLocked(s)
	} else {
		if in.mu.index != nil {
			in.mu.index[s.name] = len(in.mu.subs)
		}
		in.mu.subs = append(in.mu.subs, s)
		if len(in.mu.subs) > indexAt {
			in.makeIndexLocked()
		}
	}
	in.mu.total++
	in.countKeyUsersLocked(s, 1)
	in.changed()
	return nil
}

// takeOutLocked takes the i-th entry out of subs.
func (in *intake[T]) takeOutLocked(i int) {
	last := len(in.mu.subs) - 1
	moved := in.mu.subs[last]
	in.mu.subs[i], in.mu.subs[last] = moved, nil
	in.mu.subs = in.mu.subs[:last]
	if in.mu.index != nil {
		in.mu.index[moved.name] = i
	}
}

// countKeyUsersLocked counts s, which comes or goes, if it needs keys.
func (in *intake[T]) countKeyUsersLocked(s *subscription[T], n int) {
	if s.opts.policy == KeepLatest {
		in.latest.Add(int32(n))
	}
	if len(s.lanes) > 1 || s.opts.policy == KeepLatest || s.opts.grouped {
		in.mu.needKey += n
		in.keyed.Store(in.mu.needKey > 0)
	}
}

// remove ends s's intake and sends away who waits for its room. It reports how
// many subscriptions are left, and whether s was there.
func (in *intake[T]) remove(s *subscription[T]) (left int, was bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i, ok := in.findLocked(s.name)
	switch {
	case !ok:
	case i >= 0:
		was = in.mu.subs[i] == s
	default:
		was = in.leaveLocked(s)
	}
	if was {
		if i >= 0 {
			in.takeOutLocked(i)
		}
		delete(in.mu.index, s.name)
		if in.mu.total--; in.bus.transport != nil {
			s.leftBehindLocked(&in.topic.link.loopback)
			if in.mu.total == 0 {
				in.topic.link.loopback.deserted()
			}
		}
		in.countKeyUsersLocked(s, -1)
		in.changed()
		if s.shares && s.lanes[0] != nil {
			s.lanes[0].reader.Turn(false)
			in.forgetReader(s.lanes[0])
		}
	}
	for _, l := range s.lanes {
		if l != nil {
			l.wakeWaiters()
		}
	}
	return in.mu.total, was
}
