package bus

import (
	"github.com/shardbus/shardbus/bus/internal/keyshare"
)

// LaneCount implements keyshare.Member. The fan-out's lock is held, here and below.
func (s *subscription[T]) LaneCount() int { return len(s.lanes) }

// Lane implements keyshare.Member.
func (s *subscription[T]) Lane(i int) keyshare.Lane {
	if l := s.lanes[i]; l != nil {
		return l
	}
	return nil
}

// Entered implements keyshare.Lane. What waits in the lane's inbox enters the mailbox next.
func (l *lane[T]) Entered() uint64 {
	return l.box.Entered() + uint64(l.inbox.Len())
}

// Done implements keyshare.Lane.
func (l *lane[T]) Done(n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.movesLocked(""):
		return false
	case l.mu.closed:
		return l.stoppedLocked()
	}
	return l.pastLocked(n) && l.mu.retries.Keys() == 0
}

// DoneWith implements keyshare.Lane.
func (l *lane[T]) DoneWith(key string, n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.movesLocked(key):
		return false
	case l.mu.closed:
		return l.stoppedLocked()
	case !l.pastLocked(n):
		return false
	}
	first, ok := l.mu.retries.First(key)
	return !ok || first > n // what came later may itself await whoever asks
}

// stoppedLocked reports whether no handler runs in a lane that abandoned what waited.
func (l *lane[T]) stoppedLocked() bool {
	_, running := l.cursorLocked()
	return !running && l.mu.inHand == 0
}

// pastLocked reports whether of the first n events that entered the lane none waits in its mailbox or
// runs out of it.
func (l *lane[T]) pastLocked(n uint64) bool {
	if l.mu.inHand > 0 && l.mu.firstInHand <= n {
		return false
	}
	return l.box.Past(n)
}

// mustWait tells whether another member of the group, or one whose place s took, has not done with
// key, as far as that matters to the n-th event that entered this lane, or to one that was given back in
// an epoch.
func (s *subscription[T]) mustWait(l keyshare.Lane, key string, n uint64, epoch int) bool {
	keys := s.cfg.keys // there is a lane, so it was made
	if keys == nil || !keys.Moving() {
		return false
	}
	fan := s.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if epoch != 0 {
		return keys.MustWaitSince(s, key, keyHash(key), epoch)
	}
	return keys.MustWait(s, l, key, keyHash(key), n)
}

// ownsLocked implements laneOwner. Nobody but the members of a group gives events to each other while they
// are no longer theirs: who took another one's place gets its events as that ends.
func (s *subscription[T]) ownsLocked(key string) bool {
	return s.group == nil || key == "" || len(s.group.keys.Members()) == 0 || s.group.owner(keyHash(key)) == s
}
