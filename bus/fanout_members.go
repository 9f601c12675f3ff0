package bus

// add makes s receive the topic's events from now on.
func (fan *fanout[T]) add(s *subscription[T]) error {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	// Under the lock, so that Shutdown, which sets the state first and then
	// visits every topic under its lock, sees either no s or all of it.
	if !fan.core.takesTopics() {
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
		if fan.mu.total--; fan.core.remote {
			s.leftBehindLocked(&fan.topic.link.loopback)
			if fan.mu.total == 0 {
				fan.topic.link.loopback.unsubscribed()
			}
		}
		fan.countKeyUsersLocked(s, -1)
		fan.changed()
		if s.shares && s.lanes[0] != nil {
			s.lanes[0].box.Detach(false)
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
