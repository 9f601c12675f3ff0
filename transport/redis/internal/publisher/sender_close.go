package publisher

import (
	"hash/maphash"
	"slices"
)

// forget drops the channel queues of which nothing is on its way: after close, and without writers,
// all of them.
func (o *sender) forget() {
	o.lockAll()
	defer o.unlockAll()
	for _, s := range o.mu.queues {
		if len(s.pending) > 0 || s.inFlight > 0 {
			continue
		}
		o.dropLocked(s)
	}
}

// open lets events in.
func (o *sender) open() {
	o.lockAll()
	defer o.unlockAll()
	o.mu.err = nil
}

// close fails everything that is queued, and what comes until open, with err. What is in flight is
// resolved by its writer, and not sent again.
func (o *sender) close(err error) {
	o.lockAll()
	defer o.unlockAll()
	o.mu.err = err
	for _, s := range o.mu.queues {
		s.pending = slices.DeleteFunc(s.pending, func(it *pendingEvent) bool {
			if it.inFlight {
				return false
			}
			s.node.release(it)
			if c := o.finishLocked(it, outcome{err: err}); c != nil {
				c.done <- struct{}{}
			}
			return true
		})
		s.updateResolved()
	}
	for _, l := range o.mu.nodes {
		l.makeRoom()
	}
}

// dropLocked drops a channel queue of which nothing is on its way.
func (o *sender) dropLocked(s *channelQueue) {
	s.node.remove(s)
	delete(o.mu.paused, s)
	delete(o.mu.queues, s.queueKey)
	o.mu.bySlot[s.slot] = slices.DeleteFunc(o.mu.bySlot[s.slot], func(other *channelQueue) bool { return other == s })
	if len(o.mu.bySlot[s.slot]) == 0 {
		delete(o.mu.bySlot, s.slot)
	}
	if s.window == nil {
		return
	}
	s.window.drop()
	a := o.mu.publishers[s.publisher]
	if a == nil {
		return
	}
	if a.queues--; a.queues > 0 {
		if a.forgotten == nil {
			a.forgotten = make(map[uint64]struct{})
		}
		if len(a.forgotten) < maxForgotten {
			a.forgotten[maphash.String(channelSeed, s.channel)] = struct{}{}
		}
		return
	}
	delete(o.mu.publishers, s.publisher)
	o.mu.retired = s.publisher
	if o.cfg.Views != nil {
		o.cfg.Views.Retires(s.publisher)
	}
	if o.cfg.OnPublishers != nil {
		o.cfg.OnPublishers()
	}
}
