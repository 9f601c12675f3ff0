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
		l.ready = slices.DeleteFunc(l.ready, func(r *stream) bool { return r == s })
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

// dropReady takes the first n off ready.
func (l *lane) dropReady(n int) {
	k := copy(l.ready, l.ready[n:])
	clear(l.ready[k:])
	l.ready = l.ready[:k]
	l.note()
}

func (l *lane) note() {
	l.listed.Store(int32(len(l.ready)))
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
