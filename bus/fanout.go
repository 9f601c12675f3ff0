package bus

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus/internal/mailbox"
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
	core *core // of the bus

	// keyed says that some subscription needs the key of an event: to choose a
	// lane, or to find what it replaces. It is set under mu, and read without it to
	// compute keys, which is user code, before locking. latest counts those with
	// the policy KeepLatest, in the same way.
	keyed  atomic.Bool
	latest atomic.Int32
	stamp  bool // topic.cfg.Stamp, likewise
	// watched says that a watcher is told of every event that enters, see notePublished.
	watched bool
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
		if p.refusedBy(fan.core) {
			fan.mu.Unlock()
			if err := p.admit(fan.core); err != nil {
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
	if fan.mu.slow || !log.Free() && fan.grow() != nil || fan.core.state.Load() != stateOpen {
		fan.mu.Unlock()
		return false
	}
	fan.mu.seq++
	to := log.Slot()
	to.v, to.env, to.at, to.seq = *v, nil, at, fan.mu.seq
	log.Commit()
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
	if s == nil || fan.core.state.Load() != stateOpen {
		fan.mu.Unlock()
		return false
	}
	l := s.choose(hash)
	if l.full() {
		fan.mu.Unlock()
		return false
	}
	fan.mu.seq++
	to := l.box.Own.Slot()
	to.v, to.env, to.at, to.seq = *v, nil, at, fan.mu.seq
	l.box.Own.Commit()
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
	if fan.watched {
		fan.topic.notePublished(c)
	}
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
