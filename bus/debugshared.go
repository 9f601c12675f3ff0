package bus

import (
	"slices"
	"sync"
)

// sharedEvents notes for Config.Debug which subscriptions have an event in hand. Off a transport
// each has a value of its own; in process they share it, and what one changes is changed under the
// hands of the others.
type sharedEvents struct {
	mu struct {
		sync.Mutex
		bySeq map[uint64]*inHand
	}
}

// inHand is an event that subscriptions have in hand: those that do, or did while one of these does.
type inHand struct {
	attempts int // that run
	names    []string
}

// begin notes that an attempt of a subscription begins.
func (s *sharedEvents) begin(seq uint64, subscription string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.mu.bySeq[seq]
	if h == nil {
		h = new(inHand)
		if s.mu.bySeq == nil {
			s.mu.bySeq = make(map[uint64]*inHand)
		}
		s.mu.bySeq[seq] = h
	}
	h.attempts++
	if !slices.Contains(h.names, subscription) {
		h.names = append(h.names, subscription)
	}
}

// end notes that an attempt has ended.
func (s *sharedEvents) end(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.mu.bySeq[seq]
	if h.attempts--; h.attempts == 0 {
		delete(s.mu.bySeq, seq)
	}
}

// others are the subscriptions besides that one that may have had the event in hand during its
// attempt, which still runs.
func (s *sharedEvents) others(seq uint64, subscription string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.mu.bySeq[seq]
	if h == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(h.names), func(name string) bool { return name == subscription })
}
