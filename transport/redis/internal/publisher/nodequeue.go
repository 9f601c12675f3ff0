package publisher

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// nodeQueue is the queue of one primary for one class.
type nodeQueue struct {
	connkey.Key

	mu sync.Mutex
	// mu guards what follows, and the channel queues that are listed here. Which these are, and
	// writers, changes only under all locks: see sender.mu.
	queues        map[queueKey]*channelQueue
	ready         []*channelQueue // have events to take
	readyLarge    []*channelQueue // likewise, a large one first: each goes in a pipeline of its own, in turn with the others
	largeInFlight int             // bytes of the large events in flight
	largeTurn     bool            // it is a large one's
	events        int             // queued or in flight
	inFlight      int             // of events, those in flight
	bytes         int
	writers       int             // attached
	writer        queueWriter     // nil: nobody is connected
	watermarkAt   time.Time       // no watermark is due before this; zero: none is due
	left          []*channelQueue // whose last watermarks are being sent
	lastErr       error           // why the last pipeline failed; nil after one that did not
	space         chan struct{}   // closed when there is room again; nil: nobody waits

	readyCount   atomic.Int32 // len(ready), and of the events those
	waitingCount atomic.Int64 // that are not in flight: for who asks whether to write

	wake             chan struct{} // capacity 1: there is something to take
	watermarkChanged chan struct{} // capacity 1: watermarkAt is another
}

// queueWriter writes what is queued at a node.
type queueWriter interface {
	node() *nodeQueue
	// tryWrite writes what is ready, unless somebody else does or it had better wait.
	tryWrite(mayWait, reads bool)
	// readUntil reads replies until done has something, or so many times.
	readUntil(done <-chan struct{}, times int) bool
}

func newNodeQueue(key connkey.Key) *nodeQueue {
	return &nodeQueue{Key: key, queues: make(map[queueKey]*channelQueue), wake: make(chan struct{}, 1), watermarkChanged: make(chan struct{}, 1)}
}

// add lists a channel queue here, with what it holds.
func (l *nodeQueue) add(s *channelQueue) {
	l.queues[s.queueKey] = s
	s.node = l
	for _, it := range s.pending {
		l.events++
		l.bytes += it.size
	}
	l.schedule(s)
	l.watermarkBy(s.watermarkAt)
}

// remove takes a channel queue that has nothing in flight off the node queue.
func (l *nodeQueue) remove(s *channelQueue) {
	delete(l.queues, s.queueKey)
	for _, it := range s.pending {
		l.release(it)
	}
	if s.ready {
		s.ready = false
		is := func(r *channelQueue) bool { return r == s }
		l.ready, l.readyLarge = slices.DeleteFunc(l.ready, is), slices.DeleteFunc(l.readyLarge, is)
	}
	l.updateCounts()
}

// schedule makes the writer take from s if there is something to take.
func (l *nodeQueue) schedule(s *channelQueue) {
	if l.makeReady(s) {
		l.signal()
	}
}

// makeReady is schedule for a caller that writes itself.
func (l *nodeQueue) makeReady(s *channelQueue) (fresh bool) {
	if fresh = len(s.pending) > s.inFlight && !s.blocked() && !s.ready; fresh {
		s.ready = true
		l.ready = append(l.ready, s)
	}
	l.updateCounts()
	return fresh
}

// A large event takes long on a slow connection, and what is written behind it waits. So only so
// many bytes of large ones are in flight at a time, or one event: others go between them.
const (
	largeEvent  = 64 << 10
	largeAtOnce = 1 << 20
)

// isLarge reports whether an event is one.
func (it *pendingEvent) isLarge() bool { return it.size >= largeEvent }

// largeMustWait reports whether a large event waits until others are completed.
func (l *nodeQueue) largeMustWait(it *pendingEvent) bool {
	return l.largeInFlight > 0 && l.largeInFlight+it.size > largeAtOnce
}

// nextLarge returns the channel queue whose large event goes next; nil if none may.
func (l *nodeQueue) nextLarge() *channelQueue {
	for len(l.readyLarge) > 0 {
		s := l.readyLarge[0]
		s.ready = len(s.pending) > s.inFlight && !s.blocked()
		switch {
		case !s.ready:
		case !s.pending[s.inFlight].isLarge():
			l.ready = append(l.ready, s)
		case l.largeMustWait(s.pending[s.inFlight]):
			return nil
		default:
			return s
		}
		l.readyLarge = slices.Delete(l.readyLarge, 0, 1)
	}
	return nil
}

// dropReady takes the first n off ready.
func (l *nodeQueue) dropReady(n int) {
	k := copy(l.ready, l.ready[n:])
	clear(l.ready[k:])
	l.ready = l.ready[:k]
	l.updateCounts()
}

func (l *nodeQueue) updateCounts() {
	large := l.nextLarge() != nil
	listed := len(l.ready)
	if large {
		listed++
	}
	l.readyCount.Store(int32(listed))
	l.waitingCount.Store(int64(l.events - l.inFlight))
}

func (l *nodeQueue) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// full reports whether a Publish must wait. One event always fits, whatever its size.
func (l *nodeQueue) full(cfg *Settings, size int) bool {
	return l.events >= cfg.QueueEvents || l.events > 0 && l.bytes+size > cfg.QueueBytes
}

// release forgets an event's share of the bounds.
func (l *nodeQueue) release(it *pendingEvent) {
	l.events--
	l.bytes -= it.size
}

// room returns what is closed when there is room again.
func (l *nodeQueue) room() <-chan struct{} {
	if l.space == nil {
		l.space = make(chan struct{})
	}
	return l.space
}

// makeRoom wakes whoever waits for space.
func (l *nodeQueue) makeRoom() {
	if l.space != nil {
		close(l.space)
		l.space = nil
	}
}

// watermarkBy makes sure that the writer looks for due watermarks at a time.
func (l *nodeQueue) watermarkBy(at time.Time) {
	if !at.IsZero() && (l.watermarkAt.IsZero() || at.Before(l.watermarkAt)) {
		l.watermarkAt = at
		select {
		case l.watermarkChanged <- struct{}{}:
		default:
		}
	}
}

// takeLarge takes the large event that goes next, alone, and reports whether one may.
func (l *nodeQueue) takeLarge(b *batch, now time.Time) bool {
	s := l.nextLarge()
	for s != nil && s.pending[s.inFlight].dead {
		s.prune()
		s = l.nextLarge()
	}
	if l.largeTurn = false; s == nil {
		return false
	}
	it := s.pending[s.inFlight]
	l.takeItem(s, it, b, now)
	b.queues = append(b.queues, s)
	l.largeInFlight += it.size
	s.inFlight++
	l.readyLarge = slices.Delete(l.readyLarge, 0, 1)
	if s.ready = len(s.pending) > s.inFlight; s.ready { // behind the others
		l.ready = append(l.ready, s)
	}
	l.updateCounts()
	return true
}
