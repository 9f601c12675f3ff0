package redis

import (
	"slices"
	"sync/atomic"
	"time"
)

// lane is the queue of one primary. outbox.mu guards all of it but the channels.
type lane struct {
	addr    string
	streams map[streamKey]*stream
	ready   []*stream // have items to take
	later   []*stream // likewise, a large one first: each goes in a pipeline of its own, in turn with the others
	large   int       // bytes of the large events in flight
	turn    bool      // it is a large one's
	events  int       // queued or in flight
	aloft   int       // of events, those in flight
	bytes   int
	writers int     // attached
	writer  *writer // nil: nobody is connected

	listed  atomic.Int32 // len(ready), and of the events those
	waiting atomic.Int64 // that are not in flight: for who asks whether to write

	wake  chan struct{} // capacity 1: there is something to take
	marks chan struct{} // capacity 1: markAt is another
	space chan struct{} // closed when there is room again; nil: nobody waits

	markAt  time.Time // no watermark is due before this; zero: none is due
	lastErr error     // why the last pipeline failed; nil after one that did not
}

func newLane(addr string) *lane {
	return &lane{addr: addr, streams: make(map[streamKey]*stream), wake: make(chan struct{}, 1), marks: make(chan struct{}, 1)}
}

// add lists a stream here, with what it holds.
func (l *lane) add(s *stream) {
	l.streams[s.streamKey] = s
	s.lane = l
	for _, it := range s.queue {
		l.events++
		l.bytes += it.size
	}
	l.enlist(s)
	l.markBy(s.markAt)
}

// remove takes a stream that has nothing in flight off the lane.
func (l *lane) remove(s *stream) {
	delete(l.streams, s.streamKey)
	for _, it := range s.queue {
		l.leave(it)
	}
	if s.ready {
		s.ready = false
		is := func(r *stream) bool { return r == s }
		l.ready, l.later = slices.DeleteFunc(l.ready, is), slices.DeleteFunc(l.later, is)
	}
	l.note()
}

// enlist makes the writer take from s if there is something to take.
func (l *lane) enlist(s *stream) {
	if l.list(s) {
		l.signal()
	}
}

// list is enlist for who writes itself.
func (l *lane) list(s *stream) (fresh bool) {
	if fresh = len(s.queue) > s.inFlight && !s.held() && !s.ready; fresh {
		s.ready = true
		l.ready = append(l.ready, s)
	}
	l.note()
	return fresh
}

// A large event takes long on a slow connection, and what is written behind it waits. So only so many bytes of large ones
// are in flight at a time, or one event: others go between them.
const (
	largeEvent  = 64 << 10
	largeAtOnce = 1 << 20
)

// isLarge reports whether an event is one.
func (it *item) isLarge() bool { return it.size >= largeEvent }

// holds reports whether a large event waits until others have landed.
func (l *lane) holds(it *item) bool { return l.large > 0 && l.large+it.size > largeAtOnce }

// nextLarge returns the stream whose large event goes next; nil if none may.
func (l *lane) nextLarge() *stream {
	for len(l.later) > 0 {
		s := l.later[0]
		s.ready = len(s.queue) > s.inFlight && !s.held()
		switch {
		case !s.ready:
		case !s.queue[s.inFlight].isLarge():
			l.ready = append(l.ready, s)
		case l.holds(s.queue[s.inFlight]):
			return nil
		default:
			return s
		}
		l.later = slices.Delete(l.later, 0, 1)
	}
	return nil
}

// dropReady takes the first n off ready.
func (l *lane) dropReady(n int) {
	k := copy(l.ready, l.ready[n:])
	clear(l.ready[k:])
	l.ready = l.ready[:k]
	l.note()
}

func (l *lane) note() {
	large := l.nextLarge() != nil
	listed := len(l.ready)
	if large {
		listed++
	}
	l.listed.Store(int32(listed))
	l.waiting.Store(int64(l.events - l.aloft))
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// full reports whether a Publish must wait. One event always fits, whatever its size.
func (l *lane) full(cfg *Config, size int) bool {
	return l.events >= cfg.QueueEvents || l.events > 0 && l.bytes+size > cfg.QueueBytes
}

// leave forgets an item's share of the bounds.
func (l *lane) leave(it *item) {
	l.events--
	l.bytes -= it.size
}

// room returns what is closed when there is room again.
func (l *lane) room() <-chan struct{} {
	if l.space == nil {
		l.space = make(chan struct{})
	}
	return l.space
}

// makeRoom wakes whoever waits for space.
func (l *lane) makeRoom() {
	if l.space != nil {
		close(l.space)
		l.space = nil
	}
}

// markBy makes sure that the writer looks for due watermarks at a time.
func (l *lane) markBy(at time.Time) {
	if !at.IsZero() && (l.markAt.IsZero() || at.Before(l.markAt)) {
		l.markAt = at
		select {
		case l.marks <- struct{}{}:
		default:
		}
	}
}

// takeLarge takes the large event that goes next, alone, and reports whether one may.
func (l *lane) takeLarge(b *batch, now time.Time) bool {
	s := l.nextLarge()
	for s != nil && s.queue[s.inFlight].dead {
		s.prune()
		s = l.nextLarge()
	}
	if l.turn = false; s == nil {
		return false
	}
	it := s.queue[s.inFlight]
	l.takeItem(s, it, b, now)
	b.streams = append(b.streams, s)
	l.large += it.size
	s.inFlight++
	l.later = slices.Delete(l.later, 0, 1)
	if s.ready = len(s.queue) > s.inFlight; s.ready { // behind the others
		l.ready = append(l.ready, s)
	}
	l.note()
	return true
}
