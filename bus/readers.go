package bus

import (
	"slices"

	"github.com/shardbus/shardbus/internal/mailbox"
)

// This file is which subscriptions read the topic's log. A subscription that must
// have every event, one after another, shares it with others of the kind: one lane,
// and a mailbox that drops nothing. An event is written once for all of them. The
// intake's lock covers what is here.

// sharing tells whether a subscription with these options may share the log. Off
// a transport an event may enter one mailbox and wait for room in another.
func (o *subscribeOptions) sharing(b *Bus) bool {
	return b.transport == nil && o.lanes == 1 && !o.grouped && (o.policy == Block || o.policy == Fail)
}

// refresh finds anew who shares the log, after subscriptions came or went.
func (in *intake[T]) refresh() {
	in.mu.stale = false
	clear(in.mu.own)
	in.mu.own = in.mu.own[:0]
	in.mu.one, in.mu.laggard = nil, 0
	in.mu.lanes = make([]*lane[T], 0, len(in.mu.subs))
	for _, s := range in.mu.subs {
		if !s.shares {
			in.mu.own = append(in.mu.own, s)
			continue
		}
		if s.lanes[0] == nil {
			if in.mu.log == nil {
				in.mu.log = mailbox.NewLog[cell[T]](0)
			}
			s.lanes[0] = newLane(s, 0, in.mu.log)
		}
		in.mu.lanes = append(in.mu.lanes, s.lanes[0])
	}
	switch len(in.mu.lanes) {
	case 0:
		in.mu.log = nil
	case 1:
		in.mu.one = in.mu.lanes[0]
		in.mu.log.Alone(true)
	default:
		in.mu.log.Alone(false)
	}
	in.mu.slow = in.mu.log == nil || len(in.mu.own) > 0
	if in.mu.log == nil && len(in.mu.own) == 1 {
		if s := in.mu.own[0]; s.group == nil && (s.opts.policy == Block || s.opts.policy == Fail) {
			in.mu.solo = s
		}
	}
	in.long.Store(in.mu.slow && in.mu.solo == nil)
}

// changed says that refresh is to be called before the next event enters.
func (in *intake[T]) changed() {
	in.mu.stale, in.mu.slow, in.mu.solo = true, true, nil
	in.long.Store(true)
}

// makeOwn gives s a mailbox of its own, if it reads the topic's log: then events can
// be put for it alone. returnToLog undoes it.
func (s *subscription[T]) makeOwn() {
	if !s.shares {
		return
	}
	s.shares = false
	in := &s.topic.intake
	in.changed()
	if l := s.lanes[0]; l != nil {
		l.log = l.reader.Turn(true)
		in.forgetReader(l)
	}
}

// replayed is called after events were put for s alone. Once they are handled its
// lane may read the topic's log again. Not before: then each of the events would have
// it leave and come back.
func (s *subscription[T]) replayed() {
	if s.sharer {
		s.ctl.Or(ctlReturn)
		s.pokeLanes()
	}
}

// returnToLog has the lane, which ran dry, read the topic's log again, if no event
// has come meanwhile and its subscription has not left. The lane's goroutine calls
// it. Publishers are locked out, so nobody but this goroutine moves either end of the
// mailbox; that the lane's position is another one afterwards, only the ledger and
// those who wait for room could notice.
func (l *lane[T]) returnToLog() {
	s, in := l.sub, &l.sub.topic.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	if i, ok := in.findLocked(s.name); s.shares || !ok || i < 0 || in.mu.subs[i] != s {
		s.ctl.And(^ctlReturn)
		return
	}
	if l.reader.Done() < l.reader.End() {
		return // it will run dry again
	}
	s.ctl.And(^ctlReturn)
	l.wakeWaiters() // before positions change; there is room
	in.refresh()    // the log, if there is one, is that of those who share it now
	if in.mu.log == nil {
		in.mu.log = mailbox.NewLog[cell[T]](l.log.PutCount())
	}
	l.mu.Lock()
	l.foldLocked()
	l.accepted += l.reader.End() - l.start
	l.reader.Rejoin(in.mu.log)
	l.start = l.reader.Taken()
	l.mu.base = l.start
	l.mu.Unlock()
	l.log, s.shares = nil, true
	in.refresh()
}

// forgetReader is called when l, which read the log, has turned away from it.
func (in *intake[T]) forgetReader(l *lane[T]) {
	in.changed()
	log := in.mu.log
	if len(in.mu.lanes) == 1 {
		in.mu.log, in.mu.lanes, in.mu.one = nil, nil, nil
		return
	}
	if l.reader.Done() == log.PutCount() {
		return
	}
	log.Seal()
	if in.topic.keeps { // those that sleep hold on to what was sealed
		for _, other := range in.mu.lanes {
			other.poke()
		}
	}
}

// sweep clears the cells of the log once all who share it are done. Each lane that
// ran dry calls it; the last one finds that it is so.
func (in *intake[T]) sweep() {
	in.mu.Lock()
	defer in.mu.Unlock()
	log := in.mu.log
	if log == nil {
		return
	}
	n := len(in.mu.lanes)
	for range n {
		if l := in.mu.lanes[in.mu.laggard]; l.reader.Done() < l.reader.End() {
			return
		}
		in.mu.laggard = (in.mu.laggard + 1) % n
	}
	log.Sweep(log.PutCount())
}

// indexAt is up to how many subscriptions of a topic are looked for one by one.
const indexAt = 8

// makeIndexLocked makes the index of subs, if there is none. A topic that has groups
// has one.
func (in *intake[T]) makeIndexLocked() {
	if in.mu.index != nil {
		return
	}
	in.mu.index = make(map[string]int)
	for i, s := range in.mu.subs {
		in.mu.index[s.name] = i
	}
}

// findLocked is the place of the subscription of that name in subs, -1 for the member
// of a group, and whether there is one.
func (in *intake[T]) findLocked(name string) (i int, ok bool) {
	if in.mu.index != nil {
		i, ok = in.mu.index[name]
		return i, ok
	}
	i = slices.IndexFunc(in.mu.subs, func(s *subscription[T]) bool { return s.name == name })
	return i, i >= 0
}
