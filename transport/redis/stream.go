package redis

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
)

// streamKey names a numbered sequence of events: one publisher's on one channel.
type streamKey struct{ publisher, channel string }

// stream is the sending side of such a sequence. outbox.mu guards all of it.
type stream struct {
	streamKey
	slot int
	lane *lane

	// queue is what was not settled yet, in order. inFlight of it are under way: the first, unless it is stalled.
	queue    []*item
	inFlight int
	ready    bool      // listed in lane.ready
	stalled  bool      // something is to be sent again, when nothing is in flight any more
	leaving  bool      // it goes to another lane, when nothing is in flight any more
	dead     bool      // queue has items that nobody waits for
	moved    bool      // a node has said so of the slot, since anything was in flight
	bounced  int       // how many times in a row
	rest     time.Time // nothing is taken before; zero: it does not rest. outbox.mu.resting lists it

	assigned uint64             // the last number given out
	born     time.Time          // when number 1 was
	settled  uint64             // this and all below were accepted or given up
	given    seqset.Set         // numbers whose Publish returned an error
	givenTo  string             // given, as it travels
	window   *sendwindow.Window // what can be sent once more; nil: nothing

	heard bool      // the last event had receivers
	alone time.Time // with Config.Standby, since when the first in the queue has none; zero: it was not sent

	markAt   time.Time // when the next watermark is due; zero: never, nothing was published
	markStep int       // how many there were since the last event
	marked   time.Time // when the last one was, or the first event after quiet time
	lastSent time.Time // when the last event was
}

// markDelays is when watermarks follow the last event: soon, because a lost tail shows only by them, and then ever
// more rarely, but for ever, because subscribers may be away for long.
var markDelays = [...]time.Duration{250 * time.Millisecond, time.Second, 4 * time.Second, 16 * time.Second, time.Minute}

// markEvery is how often there is a watermark while events flow. It tells late what began while a subscriber was away.
const markEvery = 10 * time.Second

// giveUp notes that a number's Publish returned an error.
func (s *stream) giveUp(seq uint64) {
	s.given = s.given.With(seqset.Range{From: seq, To: seq})
	s.givenTo = s.given.String()
	if s.window != nil {
		s.window.Declare(time.Now(), seq)
	}
}

// sent schedules the watermark after an event.
func (s *stream) sent(now time.Time) {
	if s.marked.IsZero() || s.markStep > 0 {
		s.marked = now
	}
	s.markStep, s.lastSent = 0, now
	s.markAt = now.Add(markDelays[0])
	if busy := s.marked.Add(markEvery); busy.Before(s.markAt) {
		s.markAt = busy
	}
}

// mark notes a watermark and schedules the one after it. One that follows the last event at once does not count: who
// lost the event has lost the watermark too.
func (s *stream) mark(now time.Time) {
	s.marked = now
	if tail := s.lastSent.Add(markDelays[0]); tail.Sub(now) > markSlack {
		s.markAt = tail
		return
	}
	s.markStep = min(s.markStep+1, len(markDelays)-1)
	s.markAt = now.Add(markDelays[s.markStep])
}

// hasten schedules the next watermark for about now, but no sooner after the last one than a lost tail is told.
func (s *stream) hasten(now time.Time) {
	at := now.Add(markSlack)
	if rest := s.marked.Add(markDelays[0]); rest.After(at) {
		at = rest
	}
	if at.Before(s.markAt) {
		s.markStep, s.markAt = 0, at
	}
}

// held reports whether nothing is to be taken.
func (s *stream) held() bool { return s.stalled || s.leaving || !s.rest.IsZero() }

// number gives an item that is about to be written its number.
func (s *stream) number(it *item, now time.Time) {
	if it.seq == 0 && s.publisher != "" {
		if s.assigned == 0 {
			s.born = now
		}
		s.assigned++
		it.seq = s.assigned
		it.env.Seq = it.seq
	}
	it.given = s.givenTo
}

// refloor computes settled from the queue: all below the first number that is still open.
func (s *stream) refloor() {
	s.settled = s.assigned
	if len(s.queue) > 0 && s.queue[0].seq != 0 {
		s.settled = s.queue[0].seq - 1
	}
}

// dropSettled takes what is settled off the queue. It is in front, unless something before it is to be sent again.
func (s *stream) dropSettled() {
	n := 0
	for n < len(s.queue) && s.queue[n].settled {
		n++
	}
	k := copy(s.queue, s.queue[n:])
	clear(s.queue[k:])
	s.queue = s.queue[:k]
	if s.stalled {
		s.queue = slices.DeleteFunc(s.queue, func(it *item) bool { return it.settled })
	}
}

// prune drops what nobody waits for any more and is not in flight.
func (s *stream) prune() {
	if !s.dead {
		return
	}
	s.dead = false
	s.queue = slices.DeleteFunc(s.queue, func(it *item) bool {
		if it.dead && !it.flying {
			s.lane.leave(it)
			return true
		}
		s.dead = s.dead || it.dead
		return false
	})
	s.refloor()
}
