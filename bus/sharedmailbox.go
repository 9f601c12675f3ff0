package bus

import (
	"github.com/shardbus/shardbus/bus/internal/mailbox"
)

// This file is which subscriptions read the topic's shared mailbox. A subscription that must
// have every event, one after another, shares it with others of the kind: one lane,
// and a mailbox that drops nothing. An event is written once for all of them. The
// fan-out's lock covers what is here.

// sharing tells whether a subscription with these options may share it. Off a transport or a log an
// event may enter one mailbox and wait for room in another.
func (o *subscribeOptions) sharing(info *topicInfo) bool {
	return !info.remote && !info.durable && o.lanes == 1 && !o.grouped && (o.policy == Block || o.policy == Fail)
}

// detachReader gives s a mailbox of its own, if it reads the topic's shared mailbox: then events can
// be put for it alone. reattach undoes it.
func (s *subscription[T]) detachReader() {
	if !s.shares {
		return
	}
	s.shares = false
	fan := s.fan
	fan.changed()
	if l := s.lanes[0]; l != nil {
		l.box.Own = l.box.Detach(true)
		fan.removeReader(l)
	}
}

// replayed is called after events were put for s alone. Once they are handled its
// lane may read the topic's shared mailbox again. Not before: then each of the events would have
// it leave and come back.
func (s *subscription[T]) replayed() {
	if s.sharer {
		s.ctl.Or(ctlReattach)
		s.signalLanes()
	}
}

// reattach has the lane, which ran dry, read the topic's shared mailbox again, if no event
// has come meanwhile and its subscription has not left. The lane's goroutine calls
// it. Publishers are locked out, so nobody but this goroutine moves either end of the
// mailbox; that the lane's position is another one afterwards, only the ledger and
// those who wait for room could notice.
func (s *subscription[T]) reattach() {
	fan, l := s.fan, s.lanes[0]
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if s.shares || !s.attached {
		s.ctl.And(^ctlReattach)
		return
	}
	if l.box.Done() < l.box.End() {
		return // it will run dry again
	}
	s.ctl.And(^ctlReattach)
	l.wakeWaiters() // before positions change; there is room
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
	fan.mu.readers++
	fan.changed()
}

// removeReader is called when l, which read the shared mailbox, has turned away from it.
func (fan *fanout[T]) removeReader(l *lane[T]) {
	fan.changed()
	queue := fan.mu.shared
	if fan.mu.readers--; fan.mu.readers == 0 {
		fan.mu.shared = nil
		return
	}
	if l.box.Done() == queue.Appended() {
		return
	}
	queue.StartSegment()
	if !fan.hasPointers {
		return
	}
	for other := range fan.allLocked() { // those that sleep hold on to what was sealed
		if other.shares && other.lanes[0] != nil {
			other.lanes[0].signal()
		}
	}
}

// reclaim clears the cells of the shared mailbox once all its readers are done. Each lane that ran dry
// calls it; the last one finds that it is so.
func (fan *fanout[T]) reclaim() {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	log := fan.mu.shared
	if log == nil {
		return
	}
	readers := fan.planLocked().readers
	n := len(readers)
	for range n {
		if l := readers[fan.mu.sweepCursor]; l.box.Done() < l.box.End() {
			return
		}
		fan.mu.sweepCursor = (fan.mu.sweepCursor + 1) % int32(n)
	}
	log.Reclaim(log.Appended())
}
