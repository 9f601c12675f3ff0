package publisher

import "slices"

// forget drops the channel queues of which nothing is on its way: after close, and without writers,
// all of them.
func (o *sender) forget() {
	o.lockAll()
	defer o.unlockAll()
	for key, s := range o.mu.queues {
		if len(s.pending) > 0 || s.inFlight > 0 {
			continue
		}
		s.node.remove(s)
		if s.window != nil {
			s.window.drop()
			delete(o.mu.publishers, s.publisher)
			if o.cfg.Views != nil {
				o.cfg.Views.Retires(s.publisher)
			}
		}
		delete(o.mu.queues, key)
		o.mu.bySlot[s.slot] = slices.DeleteFunc(o.mu.bySlot[s.slot], func(other *channelQueue) bool { return other == s })
		if len(o.mu.bySlot[s.slot]) == 0 {
			delete(o.mu.bySlot, s.slot)
		}
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
