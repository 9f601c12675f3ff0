package bus

import "iter"

// add makes s receive the topic's events from now on.
func (fan *fanout[T]) add(s *subscription[T]) error {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	// Under the lock, so that Shutdown, which sets the state first and then
	// visits every topic under its lock, sees either no s or all of it.
	if !fan.core.takesTopics() {
		return ErrClosed
	}
	if fan.mu.closed {
		return ErrTopicClosed
	}
	if fan.nameTakenLocked(s.name) {
		return ErrDuplicateSubscription
	}
	if s.opts.grouped {
		fan.joinLocked(s)
	} else {
		fan.addTarget(s)
	}
	s.attached = true
	fan.mu.total++
	fan.noteNameLocked(s.name)
	fan.changed()
	return nil
}

// remove ends s's fan-out and sends away who waits for its room. It reports how
// many subscriptions are left, and whether s was there.
func (fan *fanout[T]) remove(s *subscription[T]) (left int, was bool) {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if was = s.attached; was {
		fan.removeLocked(s)
	}
	for _, l := range s.lanes {
		if l != nil {
			l.wakeWaiters()
		}
	}
	return int(fan.mu.total), was
}

func (fan *fanout[T]) removeLocked(s *subscription[T]) {
	s.attached = false
	if s.group != nil {
		fan.leaveLocked(s)
	} else {
		fan.removeTarget(s.place)
	}
	delete(fan.mu.names, s.name)
	fan.noteLeavingLocked(s)
	if s.awaited != nil {
		s.awaited.missed = fan.loopback.missing(fan.info, s.awaited.marks)
	}
	if fan.mu.total--; fan.loopback != nil && fan.mu.total == 0 {
		fan.loopback.unsubscribed()
	}
	if fan.feeds != nil {
		fan.feeds.leftLocked(s)
	}
	fan.changed()
	fan.endReadingLocked(s)
}

// noteLeavingLocked keeps those that an Ask may still wait for.
func (fan *fanout[T]) noteLeavingLocked(s *subscription[T]) {
	if !s.asked {
		return
	}
	if fan.mu.leaving == nil {
		fan.mu.leaving = make(map[*subscription[T]]struct{})
	}
	fan.mu.leaving[s] = struct{}{}
}

// endReadingLocked gives s nothing more of the shared mailbox, if it reads that.
func (fan *fanout[T]) endReadingLocked(s *subscription[T]) {
	if s.shares && s.lanes[0] != nil {
		s.lanes[0].box.Detach(false)
		fan.removeReader(s.lanes[0])
	}
}

// findLocked is the subscription of that name, or nil.
func (fan *fanout[T]) findLocked(name string) *subscription[T] {
	for s := range fan.allLocked() {
		if s.name == name {
			return s
		}
	}
	return nil
}

// ended is called when s has left and ended. It returns the subscription that waited for that, if
// there is one, whose lanes are to be signaled.
func (fan *fanout[T]) ended(s *subscription[T]) (next *subscription[T]) {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	delete(fan.mu.leaving, s)
	if fan.feeds != nil {
		fan.feeds.endedLocked(s)
	}
	if s.group != nil {
		fan.endedInGroupLocked(s)
	}
	if s.succession != nil {
		next = s.succession.ended(s)
	}
	return next
}

func (fan *fanout[T]) addTarget(t target[T]) {
	t.setPlace(len(fan.mu.targets))
	fan.mu.targets = append(fan.mu.targets, t)
}

func (fan *fanout[T]) removeTarget(place int) {
	last := len(fan.mu.targets) - 1
	moved := fan.mu.targets[last]
	fan.mu.targets[place], fan.mu.targets[last] = moved, nil
	fan.mu.targets = fan.mu.targets[:last]
	moved.setPlace(place)
}

func (s *subscription[T]) setPlace(place int) { s.place = place }
func (g *group[T]) setPlace(place int)        { g.place = place }

// allLocked is every subscription, the members of groups included.
func (fan *fanout[T]) allLocked() iter.Seq[*subscription[T]] {
	return func(yield func(*subscription[T]) bool) {
		for _, t := range fan.mu.targets {
			switch t := t.(type) {
			case *subscription[T]:
				if !yield(t) {
					return
				}
			case *group[T]:
				for m := range t.members() {
					if !yield(m) {
						return
					}
				}
			}
		}
	}
}

// indexAt is up to how many subscriptions of a topic are looked for one by one.
const indexAt = 8

// nameTakenLocked reports whether a subscription has that name.
func (fan *fanout[T]) nameTakenLocked(name string) bool {
	if fan.mu.names != nil {
		_, ok := fan.mu.names[name]
		return ok
	}
	return fan.findLocked(name) != nil
}

// noteNameLocked is called when a subscription of that name was added.
func (fan *fanout[T]) noteNameLocked(name string) {
	if fan.mu.names == nil {
		if fan.mu.total <= indexAt {
			return
		}
		fan.mu.names = make(map[string]struct{})
		for s := range fan.allLocked() {
			fan.mu.names[s.name] = struct{}{}
		}
	}
	fan.mu.names[name] = struct{}{}
}
