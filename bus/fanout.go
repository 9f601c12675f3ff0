package bus

import (
	"context"
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
// What Publish touches first where one subscription reads the shared mailbox fills the first cache
// line: among thousands of topics, each line is one more to be fetched.
type fanout[T any] struct {
	core        *core         // of the bus
	info        *topicInfo    // of the topic
	hints       atomic.Uint32 // what is to be known of mu.plan without reading it; set under the lock, and stale without
	stamp       bool          // TopicConfig.Stamp
	hasPointers bool          // a T may keep other memory alive
	indirect    bool          // a transport, a log or a chain of middleware is between Publish and the mailboxes

	mu struct {
		sync.Mutex
		plan   *fanoutPlan[T]           // nil: to be made before the next event enters; see setPlan
		shared *mailbox.Shared[cell[T]] // the shared mailbox; nil while nobody reads it
		seq    uint64                   // of events published here
		sole   *lane[T]                 // the plan's only reader of the shared mailbox; nil where there are others

		reserved    []*lane[T] // of each target of plan.own the lane that the present event is to enter
		received    uint64     // events off the transport
		unrouted    uint64
		targets     []target[T]
		names       map[string]struct{} // of all subscriptions, where there are many; see nameTakenLocked
		groups      map[string]*group[T]
		total       int32                         // of subscriptions, group members included
		readers     int32                         // lanes that read the shared mailbox
		sweepCursor int32                         // of plan.readers, where reclaim begins to look
		closed      bool                          // by Topic.Close
		free        *waiter                       // waiters to use again; channels must stay with their bus
		foreign     *foreignQueue                 // nil until the first
		leaving     map[*subscription[T]]struct{} // those of Ask that left and have not ended
	}
	key       func(T) string // of TopicConfig.Key or AppendKey; nil for none
	appendKey func(dst []byte, v T) []byte
	loopback  *loopback     // nil without a transport; mu covers it
	link      *link         // nil without a transport
	feeds     logFeeds[T]   // nil but for a durable topic
	published func(cell[T]) // tells a watcher of every event that enters; nil without one
}

// keyInfoOf finds the key information of v where any target is known to need it.
func (fan *fanout[T]) keyInfoOf(v *T) keyInfo {
	if fan.hints.Load()&hintKeyed == 0 {
		return keyInfo{}
	}
	return fan.findKey(v, fan.hints.Load()&hintLatest != 0)
}

// findKey finds the key information of v, with the key itself if it is asked for; it calls user code.
func (fan *fanout[T]) findKey(v *T, named bool) keyInfo {
	switch {
	case fan.appendKey != nil:
		return appendedKey(fan.appendKey, v, named)
	case fan.key != nil:
		key := fan.key(*v)
		return keyInfo{hash: keyHash(key), key: key, known: true, named: true}
	}
	return keyInfo{known: true, named: true}
}

// publish offers c to every target, or to only where that is not nil, and waits, while ctx lasts, for
// those whose mailbox is full and whose policy is Block. id is c's, unless it is not known. A receipt,
// where it is not nil, is told how many they were.
func (fan *fanout[T]) publish(ctx context.Context, c *cell[T], id keyInfo, only *subscription[T], receipt *Receipt) error {
	switch {
	case id.known:
	case only != nil && c.seq == 0: // an envelope, offered again
		id = keyInfo{hash: keyHash(c.env.Key), key: c.env.Key, known: true, named: true}
	default:
		id = fan.keyInfoOf(&c.v)
	}
	p := caller{ctx: ctx}
	fan.mu.Lock()
	for {
		plan := fan.planLocked()
		if plan.keyed && !id.known || plan.latest && !id.named {
			fan.mu.Unlock()
			id = fan.findKey(&c.v, plan.latest)
			fan.mu.Lock()
			continue
		}
		if fan.refuses(&p) {
			fan.mu.Unlock()
			if err := fan.admit(&p); err != nil {
				return &Error{Op: "publish", Topic: fan.info.name, Err: err}
			}
			fan.mu.Lock()
			continue
		}
		if only != nil && only.ctl.Load()&ctlLeft != 0 {
			fan.mu.Unlock()
			return &Error{Op: "publish", Topic: fan.info.name, Subscription: only.name, Err: ErrClosed}
		}
		var full *lane[T]
		var of target[T]
		if only == nil {
			full, of = fan.reserve(plan, id.hash)
		} else {
			full, of = fan.reserveOnly(only, id.hash)
		}
		if full == nil {
			break
		}
		if err := fan.awaitRoom(&p, full, of, id.hash); err != nil {
			fan.mu.Unlock()
			return err
		}
	}
	var lost bool
	if only == nil {
		lost = fan.append(c, id.key)
		fan.commitShared()
	} else {
		lost = fan.appendReserved(c, id.key)
	}
	for _, l := range fan.mu.reserved {
		l.commit()
	}
	receipt.entered(len(fan.mu.targets), true)
	fan.mu.Unlock()
	if lost {
		fan.reportDrops()
	}
	return nil
}

// tryFast is the short way in for an event with nothing but headers, where the plan has one and every mailbox
// that it enters has room; else it reports false, with the event's key information if that was found.
func (fan *fanout[T]) tryFast(v *T, headers Headers) (id keyInfo, entered bool) {
	hints := fan.hints.Load()
	if hints&hintKeyed != 0 {
		id = fan.findKey(v, hints&hintLatest != 0)
	}
	var at int64
	if fan.stamp && hints&(hintShared|hintLanes) != 0 {
		at = time.Now().UnixNano()
	}
	switch {
	case hints&hintShared != 0:
		return id, fan.tryShared(v, headers, at)
	case hints&hintLanes != 0:
		return id, fan.tryLanes(v, headers, at, id.hash, id.known)
	}
	return id, false
}

// tryShared is tryFast where all targets read the shared mailbox. Of the plan it reads the hints and the
// sole reader only, which stand on the topic's first cache line.
func (fan *fanout[T]) tryShared(v *T, headers Headers, at int64) (entered bool) {
	fan.mu.Lock()
	queue := fan.mu.shared
	barred := fan.hints.Load()&hintShared == 0 || !queue.Free() && fan.grow(fan.mu.plan) != nil
	if barred || fan.core.state.Load() != stateOpen {
		fan.mu.Unlock()
		return false
	}
	fan.mu.seq++
	queue.Slot().fill(v, nil, headers, at, fan.mu.seq)
	queue.Commit()
	if l := fan.mu.sole; l != nil {
		fan.mu.Unlock()
		l.wakeIfIdle()
		return true
	}
	readers := fan.mu.plan.readers
	fan.mu.Unlock()
	for _, l := range readers {
		l.wakeIfIdle()
	}
	return true
}

// tryLanes is tryFast where there is one target, a subscription with mailboxes of its own that drop nothing.
func (fan *fanout[T]) tryLanes(v *T, headers Headers, at int64, hash uint64, known bool) (entered bool) {
	fan.mu.Lock()
	p := fan.mu.plan
	if p == nil || p.fast != fastLanes || p.keyed && !known || fan.core.state.Load() != stateOpen {
		fan.mu.Unlock()
		return false
	}
	l := p.only.choose(hash)
	queue := l.box.Own
	if !queue.Free() && l.full() {
		fan.mu.Unlock()
		return false
	}
	fan.mu.seq++
	queue.Slot().fill(v, nil, headers, at, fan.mu.seq)
	queue.Commit()
	fan.mu.Unlock()
	l.wakeIfIdle()
	return true
}

// grow finds room in the shared mailbox, and returns a lane that has none, if there is one.
func (fan *fanout[T]) grow(p *fanoutPlan[T]) (full *lane[T]) {
	queue := fan.mu.shared
	if queue == nil || queue.Free() {
		return nil
	}
	taken, room := uint64(math.MaxUint64), uint64(math.MaxUint64)
	for _, l := range p.readers {
		t := l.taken()
		taken = min(taken, t)
		if r := t + uint64(l.capacity); r < room {
			room, full = r, l
		}
	}
	if queue.Grow(taken, room) {
		return nil
	}
	return full
}

// reserve chooses a lane of each target that has mailboxes of its own, for an event with that key
// hash. It returns a lane that must have room first, and whose it is, or nil.
func (fan *fanout[T]) reserve(p *fanoutPlan[T], hash uint64) (full *lane[T], of target[T]) {
	if l := fan.grow(p); l != nil {
		return l, nil // its subscription has no other
	}
	reserved := fan.mu.reserved[:0]
	for _, t := range p.own {
		l := t.choose(hash)
		if l.full() && l.refuses() {
			return l, t
		}
		reserved = append(reserved, l)
	}
	fan.mu.reserved = reserved
	return nil, nil
}

// reserveOnly is reserve for an event that is for one subscription alone.
func (fan *fanout[T]) reserveOnly(s *subscription[T], hash uint64) (full *lane[T], of target[T]) {
	s.detachReader()
	l := s.choose(hash)
	if l.full() && l.refuses() {
		return l, s
	}
	fan.mu.reserved = append(fan.mu.reserved[:0], l)
	return nil, nil
}

// append enters a new event where reserve has found room, and reports whether drops are to be told.
func (fan *fanout[T]) append(c *cell[T], key string) (lost bool) {
	fan.mu.seq++
	c.seq = fan.mu.seq
	if fan.published != nil {
		fan.published(*c) // by value: a pointer would move every event to the heap
	}
	if len(fan.mu.targets) == 0 {
		fan.mu.unrouted++
		return false
	}
	if fan.mu.shared != nil {
		fan.mu.shared.Append(c)
	}
	return fan.appendReserved(c, key)
}

// appendReserved enters an event in the lanes that are reserved.
func (fan *fanout[T]) appendReserved(c *cell[T], key string) (lost bool) {
	for _, l := range fan.mu.reserved {
		if l.append(c, key) {
			lost = true
		}
	}
	return lost
}

// commitShared shows the lanes what was appended to the shared mailbox, and wakes those that sleep.
func (fan *fanout[T]) commitShared() {
	if fan.mu.shared == nil {
		return
	}
	fan.mu.shared.Commit()
	for _, l := range fan.mu.plan.readers {
		l.wakeIfIdle()
	}
}
