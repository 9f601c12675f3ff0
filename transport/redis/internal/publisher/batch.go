package publisher

import "time"

// batch is what a writer sends as one pipeline.
type batch struct {
	events []*pendingEvent
	queues []*channelQueue
	done   []*publishCall // whose last event was resolved with it
}

// take fills b with what is ready on the node queue, in the order in which channel queues became
// ready, and assigns numbers.
func (o *sender) take(l *nodeQueue, b *batch) {
	b.events, b.queues = b.events[:0], b.queues[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.largeTurn && l.takeLarge(b, now) {
		return
	}
	bytes, done := 0, 0
	for _, s := range l.ready {
		if len(b.events) == batchEvents || bytes >= batchBytes {
			break
		}
		done++
		s.ready = false
		if s.blocked() {
			continue
		}
		s.prune()
		n := 0
		for _, it := range s.pending[s.inFlight:] {
			if len(b.events) == batchEvents || bytes > 0 && bytes+it.size > batchBytes || it.isLarge() {
				break
			}
			l.takeItem(s, it, b, now)
			bytes += it.size
			n++
		}
		if s.inFlight += n; n > 0 {
			b.queues = append(b.queues, s)
		}
		switch {
		case s.inFlight == len(s.pending):
			continue
		case s.pending[s.inFlight].isLarge():
			s.ready = true
			l.readyLarge = append(l.readyLarge, s)
			continue
		}
		s.ready = true // behind the others
		l.ready = append(l.ready, s)
		break
	}
	l.largeTurn = true
	l.dropReady(done)
	if len(b.events) == 0 {
		l.takeLarge(b, now)
	}
}

// takeItem takes the next event of a channel queue, and gives it its number.
func (l *nodeQueue) takeItem(s *channelQueue, it *pendingEvent, b *batch, now time.Time) {
	s.number(it, now)
	it.inFlight = true
	b.events = append(b.events, it)
	l.inFlight++
}
