package redis

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/seqs"
	"github.com/shardbus/shardbus/transport/redis/internal/window"
)

// streamKey names a numbered sequence of events: one publisher's on one channel.
type streamKey struct{ publisher, channel string }

// stream is the sending side of such a sequence. outbox.mu guards all of it.
type stream struct {
	streamKey
	slot int
	lane *lane

	// queue is what was not settled yet, in order. The first inFlight of it are with the lane's writer.
	queue    []*item
	inFlight int
	ready    bool // listed in lane.ready

	assigned uint64         // the last number given out
	born     time.Time      // when number 1 was
	settled  uint64         // this and all below were accepted or given up
	given    seqs.Set       // numbers whose Publish returned an error
	givenTo  string         // given, as it travels
	window   *window.Window // what can be sent once more; nil: nothing

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
	s.given = s.given.With(seqs.Range{From: seq, To: seq})
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

// refloor computes settled from the queue: all below the first number that is still open.
func (s *stream) refloor() {
	s.settled = s.assigned
	for _, it := range s.queue {
		if it.seq != 0 {
			s.settled = it.seq - 1
			return
		}
	}
}

// prune drops what nobody waits for any more. Nothing of the stream may be in flight.
func (s *stream) prune() {
	s.queue = slices.DeleteFunc(s.queue, func(it *item) bool {
		if it.dead {
			s.lane.leave(it)
		}
		return it.dead
	})
	s.refloor()
}
