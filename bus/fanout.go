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

// fanout is where a topic's events enter the mailboxes of its subscriptions.
//
// One lock serialises all publishers of the topic. That makes each mailbox a
// queue with a single publisher, gives all subscriptions one order of events,
// and lets a publish see that every mailbox has room before it enters any: a
// publish that gives up entered none. No user code runs under the lock.
//
// What Publish touches where one subscription reads the log fills the first cache
// line: among thousands of topics, each line is one more to be fetched.
type fanout[T any] struct {
	bus *Bus // topic.bus, one step nearer

	// keyed says that some subscription needs the key of an event: to choose a
	// lane, or to find what it replaces. It is set under mu, and read without it to
	// compute keys, which is user code, before locking. latest counts those with
	// the policy KeepLatest, in the same way.
	keyed  atomic.Bool
	latest atomic.Int32
	stamp  bool // topic.cfg.Stamp, likewise
	// long says that the short ways in, fastShared and fastKeyed, are barred, so that
	// nobody locks mu to find that out.
	long atomic.Bool

	mu struct {
		sync.Mutex
		// slow says that the short way in, fastShared, is barred: some
		// subscription has mailboxes of its own, or there is none.
		slow  bool
		stale bool // log, lanes, one, own, solo and slow must be found anew; then slow is true and solo nil
		// log holds the events of all subscriptions that share it, each with
		// a cursor of its own; nil when there are none.
		shared      *mailbox.Shared[cell[T]]
		one         *lane[T]         // lanes[0] where there is no other, else nil
		seq         uint64           // of events published here
		lanes       []*lane[T]       // that read log; never changed, but replaced
		solo        *subscription[T] // see fastKeyed
		received    uint64           // events off the transport
		unrouted    uint64
		own         []*subscription[T] // those that don't share log
		subs        []*subscription[T] // of each group its head, in place of the members
		index       map[string]int     // name → place in subs; of a group's member -1; see findLocked
		groups      map[string]*group[T]
		total       int           // of subscriptions, group members included
		needKey     int           // of subs, those that need keys
		key         string        // of the event being put, while latest is not 0
		sweepCursor int           // of lanes, where sweep begins to look
		free        []*waiter     // waiters to use again; channels must stay with their bus
		foreign     *foreignQueue // nil until the first
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

// keyInfo is what an event's mailboxes are chosen by.
type keyInfo struct {
	hash  uint64 // keyHash of key
	key   string
	known bool // else no subscription needed it when it was looked for
}

// keyInfoOf finds the key information of v where any subscription needs it.
func (fan *fanout[T]) keyInfoOf(v T) keyInfo {
	if !fan.keyed.Load() {
		return keyInfo{}
	}
	key := fan.keyFor(v)
	return keyInfo{hash: keyHash(key), key: key, known: true}
}

// keyFor is the key of v; it calls user code.
func (fan *fanout[T]) keyFor(v T) string {
	if fan.topic.cfg.Key == nil {
		return ""
	}
	return fan.topic.cfg.Key(v)
}

// nameLocked keeps the key of the event about to be put, for mailboxes that need it.
func (fan *fanout[T]) nameLocked(key string) {
	if fan.latest.Load() > 0 {
		fan.mu.key = key
	}
}

// publish offers c to every subscription, or to only where that is not nil, and
// waits, while ctx lasts, for those whose mailbox is full and whose policy is
// Block. id is c's, unless it is not known. A receipt, where it is not nil, is told how
// many they were.
func (fan *fanout[T]) publish(ctx context.Context, c *cell[T], id keyInfo, only *subscription[T], receipt *Receipt) error {
	switch {
	case id.known:
	case only != nil && c.seq == 0: // an envelope, offered again
		id = keyInfo{hash: keyHash(c.env.Key), key: c.env.Key, known: true}
	default:
		id = fan.keyInfoOf(c.v)
	}
	p := caller{ctx: ctx}
	fan.mu.Lock()
	for {
		if fan.keyed.Load() && !id.known { // a subscription that needs keys came meanwhile
			fan.mu.Unlock()
			id = fan.keyInfoOf(c.v)
			fan.mu.Lock()
			continue
		}
		if p.refusedBy(fan.bus) {
			fan.mu.Unlock()
			if err := p.admit(fan.bus); err != nil {
				return &Error{Op: "publish", Topic: fan.topic.info.name, Err: err}
			}
			fan.mu.Lock()
			continue
		}
		if only != nil && only.ctl.Load()&ctlLeft != 0 {
			fan.mu.Unlock()
			return &Error{Op: "publish", Topic: fan.topic.info.name, Subscription: only.name, Err: ErrClosed}
		}
		full := fan.reserve(id.hash, only)
		if full == nil {
			break
		}
		if err := fan.awaitRoom(&p, full, id.hash); err != nil {
			fan.mu.Unlock()
			return err
		}
	}
	fan.nameLocked(id.key)
	lost := fan.append(c, only)
	receipt.entered(len(fan.mu.subs), true)
	fan.commit(only)
	fan.mu.Unlock()
	if lost {
		fan.reportDrops()
	}
	return nil
}

// tryFast is the short way in for an event without options, where every mailbox
// that it enters has room; else it only finds the event's key information, and reports false.
func (fan *fanout[T]) tryFast(v *T) (id keyInfo, entered bool) {
	if id = fan.keyInfoOf(*v); fan.long.Load() {
		return id, false
	}
	var at int64
	if fan.stamp {
		at = time.Now().UnixNano()
	}
	if id.known {
		return id, fan.fastKeyed(v, at, id.hash)
	}
	return id, fan.fastShared(v, at)
}

// fastShared is tryFast where all subscriptions share the log.
func (fan *fanout[T]) fastShared(v *T, at int64) bool {
	fan.mu.Lock()
	log := fan.mu.shared
	if fan.mu.slow || !log.Free() && fan.grow() != nil || fan.bus.state.Load() != stateOpen {
		fan.mu.Unlock()
		return false
	}
	fan.mu.seq++
	to := log.Slot()
	to.v, to.env, to.at, to.seq = *v, nil, at, fan.mu.seq
	log.CommitBeforeFence()
	if l := fan.mu.one; l != nil {
		fan.mu.Unlock()
		l.wakeIfIdle()
		return true
	}
	lanes := fan.mu.lanes
	fan.mu.Unlock()
	for _, l := range lanes {
		l.wakeIfIdle()
	}
	return true
}

// fastKeyed is tryFast where there is one subscription, with lanes, that drops
// nothing. hash is that of the event's key.
func (fan *fanout[T]) fastKeyed(v *T, at int64, hash uint64) bool {
	fan.mu.Lock()
	s := fan.mu.solo
	if s == nil || fan.bus.state.Load() != stateOpen {
		fan.mu.Unlock()
		return false
	}
	l := s.choose(hash)
	if l.full() {
		fan.mu.Unlock()
		return false
	}
	fan.mu.seq++
	to := l.own.Slot()
	to.v, to.env, to.at, to.seq = *v, nil, at, fan.mu.seq
	l.own.CommitBeforeFence()
	fan.mu.Unlock()
	l.wakeIfIdle()
	return true
}

// grow finds room in the log, and returns a lane that has none, if there is one.
func (fan *fanout[T]) grow() (full *lane[T]) {
	log := fan.mu.shared
	if log == nil || log.Free() {
		return nil
	}
	taken, room := uint64(math.MaxUint64), uint64(math.MaxUint64)
	for _, l := range fan.mu.lanes {
		t := l.taken()
		taken = min(taken, t)
		if r := t + uint64(l.capacity); r < room {
			room, full = r, l
		}
	}
	if log.Grow(taken, room) {
		return nil
	}
	return full
}

// reserve chooses the lane of every subscription for an event with that key hash,
// and returns a lane that must have room first, or nil.
func (fan *fanout[T]) reserve(hash uint64, only *subscription[T]) (full *lane[T]) {
	if only != nil {
		only.detachReader()
	}
	if fan.mu.stale {
		fan.refresh()
	}
	if only != nil {
		return only.reserve(hash)
	}
	if l := fan.grow(); l != nil {
		return l
	}
	for _, s := range fan.mu.own {
		if l := s.reserve(hash); l != nil {
			return l
		}
	}
	return nil
}

// append enters the event where pick has found room, and reports whether drops are
// to be told.
func (fan *fanout[T]) append(c *cell[T], only *subscription[T]) (lost bool) {
	if only != nil {
		return only.reserved.append(c)
	}
	fan.mu.seq++
	c.seq = fan.mu.seq
	if len(fan.mu.subs) == 0 {
		fan.mu.unrouted++
		return false
	}
	if fan.mu.shared != nil {
		fan.mu.shared.Append(c)
	}
	for _, s := range fan.mu.own {
		if s.reserved.append(c) {
			lost = true
		}
	}
	return lost
}

// commit shows the lanes what was put, and wakes those that sleep.
func (fan *fanout[T]) commit(only *subscription[T]) {
	if only != nil {
		only.commit()
		return
	}
	fan.commitLog()
	for _, s := range fan.mu.own {
		s.commit()
	}
}

func (fan *fanout[T]) commitLog() {
	if fan.mu.shared == nil {
		return
	}
	fan.mu.shared.Commit()
	for _, l := range fan.mu.lanes {
		l.wakeIfIdle()
	}
}

// deliver enters an envelope off the transport. It never blocks: what finds a
// mailbox full waits in the lane's inbox, and what finds that full too is
// dropped and reported as a gap.
func (fan *fanout[T]) deliver(env *transport.Envelope) {
	if b := fan.bus; b.state.Load() != stateOpen && env.Publisher != b.id {
		return // the bus is leaving; only what its own handlers publish it still takes
	}
	if !fan.needsDecoding(env) {
		fan.enter(env, false)
	} else if !fan.enqueueForeign(env) {
		fan.overflowed(env)
	}
}

// enter offers an envelope to every subscription; foreign says that it comes out of the
// queue of foreign events.
func (fan *fanout[T]) enter(env *transport.Envelope, foreign bool) {
	hash := keyHash(env.Key)
	c := cell[T]{head: head{env: env}}
	lost := false
	var overflow []*subscription[T]
	fan.mu.Lock()
	if foreign {
		fan.mu.foreign.inHand = nil
	}
	if fan.bus.state.Load() == stateClosed {
		fan.mu.Unlock()
		return
	}
	fan.nameLocked(env.Key)
	fan.mu.received++
	if len(fan.mu.subs) == 0 {
		fan.mu.unrouted++
	}
	for _, s := range fan.mu.subs { // off a transport nobody shares a log
		switch s.receive(&c, hash) {
		case receivedDropped:
			lost = true
		case receivedOverflow:
			overflow = append(overflow, s)
		case receivedOK:
		}
		s.commit()
	}
	own := env.Publisher == fan.bus.id
	if own {
		fan.topic.link.loopback.arrive(env.Partition, env.Seq)
	}
	fan.mu.Unlock()
	if own {
		fan.bus.changes.notify()
	}
	if lost {
		fan.reportDrops()
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
func (fan *fanout[T]) reportDrops() {
	type due struct {
		s       *subscription[T]
		dropped uint64
	}
	var reports []due
	fan.mu.Lock()
	for s := range fan.allLocked() {
		if s.tellDrops {
			s.tellDrops = false
			reports = append(reports, due{s, s.crowdedOut})
		}
	}
	fan.mu.Unlock()
	for _, r := range reports {
		r.s.log().Warn("the mailbox was full and events were dropped",
			zap.Uint64("dropped", r.dropped), zap.Stringer("policy", r.s.opts.policy), zap.Int("capacity", r.s.opts.capacity))
	}
}

// add makes s receive the topic's events from now on.
func (fan *fanout[T]) add(s *subscription[T]) error {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	// Under the lock, so that Shutdown, which sets the state first and then
	// visits every topic under its lock, sees either no s or all of it.
	if fan.bus.state.Load() != stateOpen {
		return ErrClosed
	}
	if _, ok := fan.findLocked(s.name); ok {
		return ErrDuplicateSubscription
	}
	if s.opts.grouped {
		fan.makeIndexLocked()
		fan.mu.index[s.name] = -1
		fan.joinLocked(s)
	} else {
		if fan.mu.index != nil {
			fan.mu.index[s.name] = len(fan.mu.subs)
		}
		fan.mu.subs = append(fan.mu.subs, s)
		if len(fan.mu.subs) > indexAt {
			fan.makeIndexLocked()
		}
	}
	fan.mu.total++
	fan.countKeyUsersLocked(s, 1)
	fan.changed()
	return nil
}

// takeOutLocked takes the i-th entry out of subs.
func (fan *fanout[T]) takeOutLocked(i int) {
	last := len(fan.mu.subs) - 1
	moved := fan.mu.subs[last]
	fan.mu.subs[i], fan.mu.subs[last] = moved, nil
	fan.mu.subs = fan.mu.subs[:last]
	if fan.mu.index != nil {
		fan.mu.index[moved.name] = i
	}
}

// countKeyUsersLocked counts s, which comes or goes, if it needs keys.
func (fan *fanout[T]) countKeyUsersLocked(s *subscription[T], n int) {
	if s.opts.policy == KeepLatest {
		fan.latest.Add(int32(n))
	}
	if len(s.lanes) > 1 || s.opts.policy == KeepLatest || s.opts.grouped {
		fan.mu.needKey += n
		fan.keyed.Store(fan.mu.needKey > 0)
	}
}

// remove ends s's fan-out and sends away who waits for its room. It reports how
// many subscriptions are left, and whether s was there.
func (fan *fanout[T]) remove(s *subscription[T]) (left int, was bool) {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	i, ok := fan.findLocked(s.name)
	switch {
	case !ok:
	case i >= 0:
		was = fan.mu.subs[i] == s
	default:
		was = fan.leaveLocked(s)
	}
	if was {
		if i >= 0 {
			fan.takeOutLocked(i)
		}
		delete(fan.mu.index, s.name)
		if fan.mu.total--; fan.bus.transport != nil {
			s.leftBehindLocked(&fan.topic.link.loopback)
			if fan.mu.total == 0 {
				fan.topic.link.loopback.unsubscribed()
			}
		}
		fan.countKeyUsersLocked(s, -1)
		fan.changed()
		if s.shares && s.lanes[0] != nil {
			s.lanes[0].reader.Detach(false)
			fan.removeReader(s.lanes[0])
		}
	}
	for _, l := range s.lanes {
		if l != nil {
			l.wakeWaiters()
		}
	}
	return fan.mu.total, was
}
