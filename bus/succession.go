package bus

import (
	"slices"

	"github.com/shardbus/shardbus/bus/internal/keyshare"
	"github.com/shardbus/shardbus/bus/internal/waitgraph"
)

// succession is a subscription and those whose place it took, one after another, as far as they have
// not ended. Each finishes what entered before it was replaced. The next one starts an event of a key
// only when those before it have done with that key; or, without byKey, when they have ended. The
// fan-out's lock covers it, but for keys.Moving.
type succession[T any] struct {
	keys  keyshare.Group     // its one member is the last of line
	line  []*subscription[T] // in the order in which they came
	byKey bool               // the last of line waits for each key by itself
	waits *waitgraph.Wait    // of the lanes of the last of line; nil with byKey
}

// succeed has s take the place of old, which is the last of line or has none yet.
func (s *subscription[T]) succeed(old *subscription[T]) {
	sc := old.succession
	if sc == nil {
		sc = &succession[T]{line: []*subscription[T]{old}}
		sc.keys.Join(old)
		old.succession = sc
	}
	s.succession = sc
	sc.keys.Replace(old, s)
	sc.line = append(sc.line, s)
	if sc.byKey = s.waitsByKey(old); sc.byKey {
		s.ctl.Or(ctlSucceeding)
		return
	}
	s.ctl.Or(ctlAwaiting)
	var lanes []*waitgraph.Node
	for _, before := range sc.line[:len(sc.line)-1] {
		for _, l := range before.lanes {
			if l != nil {
				lanes = append(lanes, &l.node.Node)
			}
		}
	}
	sc.waits = waitgraph.ForReply(lanes)
}

// waitsByKey tells whether order among the events of a key is all that the two promise. It is not
// where one of them has one lane, or keys are unknown. Actors have state, which is whole when they
// have stopped. And who waits for the end of others ends after them, with whatever keys they have.
func (s *subscription[T]) waitsByKey(old *subscription[T]) bool {
	return len(old.lanes) > 1 && len(s.lanes) > 1 && s.fan.key != nil && !old.actors && old.ctl.Load()&ctlAwaiting == 0
}

// laneMade is called with each lane of the last of line as it is made: while it starts nothing, a
// handler that waits for its room waits for those before it.
func (sc *succession[T]) laneMade(l *lane[T]) {
	if l.ctl.Load()&ctlAwaiting != 0 {
		l.node.Begin(sc.waits)
	}
}

// ended takes out one that has ended. It returns the one that need not wait any more, if there is one.
func (sc *succession[T]) ended(s *subscription[T]) (next *subscription[T]) {
	sc.keys.Ended(s)
	sc.line = slices.DeleteFunc(sc.line, func(of *subscription[T]) bool { return of == s })
	if len(sc.line) == 0 {
		return nil
	}
	next = sc.line[0]
	if next.ctl.Load()&(ctlAwaiting|ctlSucceeding) == 0 {
		return nil
	}
	for _, l := range next.lanes {
		if l != nil {
			l.node.Finish()
		}
	}
	next.ctl.And(^(ctlAwaiting | ctlSucceeding))
	return next
}

// replace has s take the place of the subscription of its name, at one moment: what entered before
// stays with that, and what comes after goes to s.
func (fan *fanout[T]) replace(s *subscription[T]) (old *subscription[T], err error) {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if !fan.core.takesTopics() { // see add
		return nil, ErrClosed
	}
	if fan.mu.closed {
		return nil, ErrTopicClosed
	}
	old = fan.findLocked(s.name)
	if old == nil || (old.group != nil) != s.opts.grouped || old.opts.group != s.opts.group {
		return nil, ErrNotSubscribed // the second: another one has the name by now
	}
	s.host.remember(&old.Subscription)
	old.attached = false
	if g := old.group; g != nil {
		s.group = g
		g.keys.Replace(old, s)
	} else {
		s.succeed(old)
		s.place = old.place
		fan.mu.targets[s.place] = s
	}
	s.attached = true
	if fan.feeds != nil {
		fan.feeds.replacedLocked(s)
	}
	old.ctl.Or(ctlLeft | ctlReplaced)
	fan.noteLeavingLocked(old)
	fan.changed()
	fan.endReadingLocked(old)
	for _, l := range old.lanes {
		if l != nil {
			l.wakeWaiters() // there may be room in s
		}
	}
	return old, nil
}

// retire implements laneOwner. Nothing enters s any more, so that what it has becomes less, and each
// lane that runs dry looks.
func (s *subscription[T]) retire() {
	if s.Stats().Pending() == 0 {
		s.stop(nil)
	}
}
