package bus

import "sync/atomic"

// subscription is the typed half.
type subscription[T any] struct {
	Subscription
	fan     *fanout[T] // of its topic
	handler Handler
	hook    laneHook        // nil unless there are actors
	batch   batchHandler[T] // nil unless events are handled in batches
	group   *group[T]       // that it is a member of, or nil
	// succession is whose place it took, and who took its place; nil if nobody. The fan-out's lock
	// covers it.
	succession *succession[T]
	times      atomic.Pointer[times]
	cfg        *laneConfig[T] // of its lanes, made for the first; under the fan-out's lock

	lanes  []*lane[T]   // each made when its first event comes, under the fan-out's lock
	first  [1]*lane[T]  // lanes, where there is one
	open   atomic.Int32 // lanes that have not closed
	plain  bool         // there is nothing around the handler
	asked  bool         // T is a Request
	sharer bool         // its lane reads the topic's shared mailbox, unless events were put for it alone
	shares bool         // its lane does, under the fan-out's lock

	// The fan-out's, under its lock.
	attached bool // it gets the topic's events
	place    int  // among the topic's targets
	next     int
	inbox    *inbox   // of envelopes that any lane may take; nil without a transport
	awaited  *awaited // what Drain waits for, see catchUp; nil before
}

// awaited is what was published before a Drain and must come back from the transport. Most
// subscriptions never have it.
type awaited struct {
	marks  []uint64 // of each partition
	missed []Gap    // what had not come when the subscription left
}

// missed is what Drain waited for in vain, after the subscription left.
func (s *subscription[T]) missed() []Gap {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	if s.awaited == nil {
		return nil
	}
	return s.awaited.missed
}
