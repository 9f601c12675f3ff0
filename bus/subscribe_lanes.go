package bus

import (
	"context"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/bus/internal/keyshare"
	"github.com/shardbus/shardbus/bus/internal/mailbox"
)

// This file is a subscription's lanes as the topic's fan-out and the
// subscription's owner see them. The fan-out's lock covers lanes, shares, reserved,
// next, inbox and the publishers' own part of each lane.

// choose is the lane for an event with that key hash: always the same for a
// key, and for no key (0) the next one with room.
func (s *subscription[T]) choose(hash uint64) *lane[T] {
	n := len(s.lanes)
	switch {
	case n == 1:
		return s.lane(0)
	case hash != 0:
		return s.lane(keyshare.LaneOf(hash, n))
	}
	s.next++
	for i := range n {
		if l := s.lane((s.next + i) % n); !l.full() {
			return l
		}
	}
	return s.lane(s.next % n)
}

// lane is the i-th lane, made when first asked for.
func (s *subscription[T]) lane(i int) *lane[T] {
	if s.lanes[i] == nil {
		s.newLane(i, nil)
	}
	return s.lanes[i]
}

// newLane makes the i-th lane, which reads shared, or, if that is nil, has a mailbox of its own. The
// fan-out's lock is held.
func (s *subscription[T]) newLane(i int, shared *mailbox.Shared[cell[T]]) {
	s.lanes[i] = newLane(s.laneConfig(), i, shared)
	if s.succession != nil {
		s.succession.laneMade(s.lanes[i])
	}
}

// owners implements target.
func (s *subscription[T]) owners(hash uint64) []*lane[T] {
	if hash == 0 {
		return s.lanes
	}
	i := keyshare.LaneOf(hash, len(s.lanes))
	return s.lanes[i : i+1]
}

// commit implements target.
func (s *subscription[T]) commit() {
	for _, l := range s.lanes {
		if l != nil {
			l.commit()
		}
	}
}

// replay offers an event of this subscription to it alone.
func (s *subscription[T]) replay(ctx context.Context, d *Delivery) error {
	c := &cell[T]{head: *d.head}
	if c.seq != 0 { // else it is decoded afresh
		c.v = *d.value.(*T)
	}
	return s.fan.publish(ctx, c, keyInfo{}, s, nil)
}

// made is the lanes that exist.
func (s *subscription[T]) made() []*lane[T] {
	fan := s.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	var lanes []*lane[T]
	for _, l := range s.lanes {
		if l != nil {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

func (s *subscription[T]) signalLanes() {
	for _, l := range s.made() {
		l.signal()
	}
}

// laneClosed is called by each lane as it ends.
func (s *subscription[T]) laneClosed() {
	if s.open.Add(-1) == 0 {
		s.ended()
	}
}

func (s *subscription[T]) ended() {
	if next := s.fan.ended(s); next != nil {
		next.signalLanes()
	}
	s.host.forget(&s.Subscription) // before Done: whoever has seen that finds it nowhere
	s.closeDone()
	s.core.changes.Notify()
}

// closeLanes abandons what waits in every lane, all at one moment, and has the lanes end.
// It is called once, after s left the fan-out: no lane is made any more, and nothing enters.
func (s *subscription[T]) closeLanes() {
	fan := s.fan
	fan.mu.Lock()
	var lanes []*lane[T]
	for _, l := range s.lanes {
		if l != nil {
			lanes = append(lanes, l)
		}
	}
	// Before a running lane can see that it shall close. One more than there are lanes: what a successor
	// must not overtake is given back before s has ended.
	s.open.Store(int32(len(lanes)) + 1)
	s.ctl.Or(ctlClosing)
	back := make([][]*consumer.Event, len(lanes))
	for i, l := range lanes {
		l.abandonLocked(&back[i])
	}
	fan.mu.Unlock()
	for i, l := range lanes {
		if l.durable {
			l.giveBack(back[i])
		}
		l.signal()
	}
	s.core.changes.Notify()
	s.laneClosed()
}

// laneConfig is what its lanes are made from. The fan-out's lock is held.
func (s *subscription[T]) laneConfig() *laneConfig[T] {
	if s.cfg == nil {
		s.cfg = &laneConfig[T]{
			core: s.core, info: s.info, name: s.name, opts: s.opts, ctl: &s.ctl, handler: s.handler,
			batch: s.batch, hook: s.hook, inbox: s.inbox, plain: s.plain, debug: s.core.debug, asked: s.asked,
			hasPointers: s.fan.hasPointers, owner: s,
		}
		switch {
		case s.group != nil:
			s.cfg.keys, s.cfg.grouped = &s.group.keys, true
		case s.succession != nil && s.succession.byKey:
			s.cfg.keys = &s.succession.keys
		}
	}
	return s.cfg
}

// subscription implements userRunner.
func (l *lane[T]) subscription() *Subscription { return &l.cfg.owner.(*subscription[T]).Subscription }

// What follows implements laneOwner.

func (s *subscription[T]) deadLetter(ctx context.Context, c *cell[T], d Delivery, j *disposition) {
	s.keepDeadLetter(ctx, deadLetter(c, d, j))
}

func (s *subscription[T]) lockMailboxes()   { s.fan.mu.Lock() }
func (s *subscription[T]) unlockMailboxes() { s.fan.mu.Unlock() }
func (s *subscription[T]) reclaim()         { s.fan.reclaim() }

// measured is where the subscription's times are kept, made for the first.
func (s *subscription[T]) measured() *times {
	if t := s.times.Load(); t != nil {
		return t
	}
	s.times.CompareAndSwap(nil, new(times))
	return s.times.Load()
}
