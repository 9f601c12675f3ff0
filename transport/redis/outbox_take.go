package redis

import "time"

// batch is what a writer sends as one pipeline.
type batch struct {
	items   []*item
	streams []*stream
	done    []*call // whose last item was settled with it
}

// take fills b with what is ready on the lane, in the order in which streams became ready, and assigns numbers.
func (o *outbox) take(l *lane, b *batch) {
	b.items, b.streams = b.items[:0], b.streams[:0]
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if l.turn && l.takeLarge(b, now) {
		return
	}
	bytes, done := 0, 0
	for _, s := range l.ready {
		if len(b.items) == batchEvents || bytes >= batchBytes {
			break
		}
		done++
		s.ready = false
		if s.held() {
			continue
		}
		s.prune()
		n := 0
		for _, it := range s.queue[s.inFlight:] {
			if len(b.items) == batchEvents || bytes > 0 && bytes+it.size > batchBytes || it.isLarge() {
				break
			}
			l.takeItem(s, it, b, now)
			bytes += it.size
			n++
		}
		if s.inFlight += n; n > 0 {
			b.streams = append(b.streams, s)
		}
		switch {
		case s.inFlight == len(s.queue):
			continue
		case s.queue[s.inFlight].isLarge():
			s.ready = true
			l.later = append(l.later, s)
			continue
		}
		s.ready = true // behind the others
		l.ready = append(l.ready, s)
		break
	}
	l.turn = true
	l.dropReady(done)
	if len(b.items) == 0 {
		l.takeLarge(b, now)
	}
}

// takeItem takes the next item of a stream, and gives it its number.
func (l *lane) takeItem(s *stream, it *item, b *batch, now time.Time) {
	s.number(it, now)
	it.flying = true
	b.items = append(b.items, it)
	l.aloft++
}
