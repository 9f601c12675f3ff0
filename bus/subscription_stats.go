package bus

// stats stops the publishers, by the fan-out's lock, and each lane's own changes, by its lock. What
// still moves is each lane's progress through its queue: one word, read once.
func (s *subscription[T]) stats() Stats {
	fan := s.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	st := s.statsLocked()
	if t := s.times.Load(); t != nil {
		t.read(&st.Handling)
	}
	st.Lost, st.Uncertain, st.Unmeasured = s.missing()
	return st
}

// statsLocked is stats with the fan-out's lock held.
func (s *subscription[T]) statsLocked() Stats {
	var sum Stats
	for _, l := range s.lanes {
		if l != nil {
			l.addStatsLocked(&sum)
		}
	}
	if s.inbox != nil {
		sum.Queued += uint64(s.inbox.envelopes.Len())
		sum.Committed = s.inbox.committed.Load()
	}
	if s.info.durable {
		sum.Standby = s.fan.feeds.standbyLocked(s)
	}
	return sum
}

// addStatsLocked adds the lane's counters; the fan-out's lock is held.
func (l *lane[T]) addStatsLocked(sum *Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken, running := l.cursorLocked()
	finished := taken - l.mu.base
	if running {
		sum.Running++
		finished--
	}
	sum.Running += uint64(l.mu.inHand)
	depth := l.box.QueuedFrom(taken)
	if l.mu.closed {
		depth = 0
	}
	sum.Accepted += l.box.Entered() - l.start
	sum.Queued += depth
	l.high.saw(int(depth))
	sum.Deepest = max(sum.Deepest, depth)
	sum.HighWater = max(sum.HighWater, uint64(l.high.n.Load()))
	sum.Queued += uint64(l.inbox.Len())
	switch deferred := uint64(l.mu.retries.Len()); {
	case l.durable:
		l.addLogStatsLocked(sum, deferred)
	case l.mu.closed:
		sum.Abandoned += deferred
	default:
		sum.Deferred += deferred
	}
	sum.Accepted += l.accepted
	sum.Dropped += l.dropped
	sum.Handled += l.mu.handled + finished
	sum.Discarded += l.mu.discarded
	sum.DeadLettered += l.mu.dead
	sum.Abandoned += l.mu.abandoned
	sum.Failed += l.mu.failed
	sum.Retried += l.mu.retried
	sum.Snoozed += l.mu.snoozed
	sum.Panicked += l.mu.panicked
	sum.Slow += l.mu.slow
}

// addLogStatsLocked adds what only a lane of a durable topic counts, with what is deferred.
func (l *lane[T]) addLogStatsLocked(sum *Stats, deferred uint64) {
	g := l.attempts.log
	deferred += uint64(len(g.adopted))
	if l.mu.closed {
		sum.Returned += deferred
	} else {
		sum.Deferred += deferred
	}
	sum.Returned += g.returned
	sum.Fenced += g.fenced
}

// busyLocked tells whether anything of the topic is pending; the fan-out's lock is held.
func (fan *fanout[T]) busyLocked() bool {
	if st := fan.mu.foreign; st != nil && st.working {
		return true
	}
	if fan.loopback != nil && fan.loopback.busy(fan.core.transportGone.Load()) {
		return true
	}
	for s := range fan.allLocked() {
		if s.busyLocked() {
			return true
		}
	}
	return fan.feeds != nil && fan.feeds.busyLocked()
}

// busyLocked tells whether anything of s is pending; the fan-out's lock is held.
func (s *subscription[T]) busyLocked() bool {
	st := s.statsLocked()
	return st.Pending() > 0
}
