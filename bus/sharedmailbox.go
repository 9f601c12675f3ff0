package bus

import (
	"slices"

	"github.com/shardbus/shardbus/bus/internal/mailbox"
)

// This file is which subscriptions read the topic's log. A subscription that must
// have every event, one after another, shares it with others of the kind: one lane,
// and a mailbox that drops nothing. An event is written once for all of them. The
// fan-out's lock covers what is here.

// sharing tells whether a subscription with these options may share the log. Off
// a transport an event may enter one mailbox and wait for room in another.
func (o *subscribeOptions) sharing(c *core) bool {
	return !c.remote && o.lanes == 1 && !o.grouped && (o.policy == Block || o.policy == Fail)
}

// refresh finds anew who shares the log, after subscriptions came or went.
func (fan *fanout[T]) refresh() {
	fan.mu.stale = false
	clear(fan.mu.own)
	fan.mu.own = fan.mu.own[:0]
	fan.mu.one, fan.mu.sweepCursor = nil, 0
	fan.mu.lanes = make([]*lane[T], 0, len(fan.mu.subs))
	for _, s := range fan.mu.subs {
		if !s.shares {
			fan.mu.own = append(fan.mu.own, s)
			continue
		}
		if s.lanes[0] == nil {
			if fan.mu.shared == nil {
				fan.mu.shared = mailbox.NewShared[cell[T]](0)
			}
			s.lanes[0] = newLane(s.laneConfig(), 0, fan.mu.shared)
		}
		fan.mu.lanes = append(fan.mu.lanes, s.lanes[0])
	}
	switch len(fan.mu.lanes) {
	case 0:
		fan.mu.shared = nil
	case 1:
		fan.mu.one = fan.mu.lanes[0]
		fan.mu.shared.SetSoleReader(true)
	default:
		fan.mu.shared.SetSoleReader(false)
	}
	fan.mu.slow = fan.mu.shared == nil || len(fan.mu.own) > 0 || fan.watched
	if fan.mu.shared == nil && len(fan.mu.own) == 1 && !fan.watched {
		if s := fan.mu.own[0]; s.group == nil && (s.opts.policy == Block || s.opts.policy == Fail) {
			fan.mu.solo = s
		}
	}
	fan.long.Store(fan.mu.slow && fan.mu.solo == nil)
}

// changed says that refresh is to be called before the next event enters.
func (fan *fanout[T]) changed() {
	fan.mu.stale, fan.mu.slow, fan.mu.solo = true, true, nil
	fan.long.Store(true)
}

// detachReader gives s a mailbox of its own, if it reads the topic's log: then events can
// be put for it alone. reattach undoes it.
func (s *subscription[T]) detachReader() {
	if !s.shares {
		return
	}
	s.shares = false
	fan := &s.topic.fanout
	fan.changed()
	if l := s.lanes[0]; l != nil {
		l.box.Own = l.box.Detach(true)
		fan.removeReader(l)
	}
}

// replayed is called after events were put for s alone. Once they are handled its
// lane may read the topic's log again. Not before: then each of the events would have
// it leave and come back.
func (s *subscription[T]) replayed() {
	if s.sharer {
		s.ctl.Or(ctlReattach)
		s.signalLanes()
	}
}

// reattach has a lane, which ran dry, read the topic's log again, if no event
// has come meanwhile and its subscription has not left. The lane's goroutine calls
// it. Publishers are locked out, so nobody but this goroutine moves either end of the
// mailbox; that the lane's position is another one afterwards, only the ledger and
// those who wait for room could notice.
func (s *subscription[T]) reattach(l *lane[T]) {
	fan := &s.topic.fanout
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if i, ok := fan.findLocked(s.name); s.shares || !ok || i < 0 || fan.mu.subs[i] != s {
		s.ctl.And(^ctlReattach)
		return
	}
	if l.box.Done() < l.box.End() {
		return // it will run dry again
	}
	s.ctl.And(^ctlReattach)
	l.wakeWaiters() // before positions change; there is room
	fan.refresh()   // the log, if there is one, is that of those who share it now
	if fan.mu.shared == nil {
		fan.mu.shared = mailbox.NewShared[cell[T]](l.box.Own.Appended())
	}
	l.mu.Lock()
	l.foldLocked()
	l.accepted += l.box.End() - l.start
	l.box.Reattach(fan.mu.shared)
	l.start = l.box.Taken()
	l.mu.base = l.start
	l.mu.Unlock()
	l.box.Own, s.shares = nil, true
	fan.refresh()
}

// removeReader is called when l, which read the log, has turned away from it.
func (fan *fanout[T]) removeReader(l *lane[T]) {
	fan.changed()
	log := fan.mu.shared
	if len(fan.mu.lanes) == 1 {
		fan.mu.shared, fan.mu.lanes, fan.mu.one = nil, nil, nil
		return
	}
	if l.box.Done() == log.Appended() {
		return
	}
	log.StartSegment()
	if fan.topic.hasPointers { // those that sleep hold on to what was sealed
		for _, other := range fan.mu.lanes {
			other.signal()
		}
	}
}

// reclaim clears the cells of the log once all who share it are done. Each lane that
// ran dry calls it; the last one finds that it is so.
func (fan *fanout[T]) reclaim() {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	log := fan.mu.shared
	if log == nil {
		return
	}
	n := len(fan.mu.lanes)
	for range n {
		if l := fan.mu.lanes[fan.mu.sweepCursor]; l.box.Done() < l.box.End() {
			return
		}
		fan.mu.sweepCursor = (fan.mu.sweepCursor + 1) % n
	}
	log.Reclaim(log.Appended())
}

// indexAt is up to how many subscriptions of a topic are looked for one by one.
const indexAt = 8

// makeIndexLocked makes the index of subs, if there is none. A topic that has groups
// has one.
func (fan *fanout[T]) makeIndexLocked() {
	if fan.mu.index != nil {
		return
	}
	fan.mu.index = make(map[string]int)
	for i, s := range fan.mu.subs {
		fan.mu.index[s.name] = i
	}
}

// findLocked is the place of the subscription of that name in subs, -1 for the member
// of a group, and whether there is one.
func (fan *fanout[T]) findLocked(name string) (i int, ok bool) {
	if fan.mu.index != nil {
		i, ok = fan.mu.index[name]
		return i, ok
	}
	i = slices.IndexFunc(fan.mu.subs, func(s *subscription[T]) bool { return s.name == name })
	return i, i >= 0
}
