package publisher

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
)

// queueKey names a numbered sequence of events: one publisher's on one channel.
type queueKey struct{ publisher, channel string }

// channelQueue is the sending side of such a sequence. The lock of its node queue guards it. node
// and moving change only under all locks: see sender.mu.
type channelQueue struct {
	queueKey
	slot  int
	class connkey.Class
	node  *nodeQueue

	// pending is what was not resolved yet, in order. inFlight of it are in flight: the first,
	// unless it is retrying.
	pending     []*pendingEvent
	inFlight    int
	ready       bool      // listed in nodeQueue.ready
	retrying    bool      // something is to be sent again, when nothing is in flight any more
	moving      bool      // it goes to another node queue, when nothing is in flight any more
	leaving     bool      // its publisher publishes here no more: it is dropped after the next watermark
	hasDead     bool      // queue has events that nobody waits for
	redirected  bool      // a node has said so of the slot, since anything was in flight
	redirects   int       // how many times in a row
	pausedUntil time.Time // nothing is taken before; zero: it is not paused. sender.mu.paused lists it

	assigned      uint64      // the last number given out
	born          time.Time   // when number 1 was
	resolved      uint64      // this and all below were accepted or abandoned
	abandoned     seqset.Set  // numbers whose Publish returned an error
	abandonedText string      // given, as it travels
	window        *sendWindow // what can be sent once more; nil: nothing

	hadReceivers bool      // the last event had receivers
	unheardSince time.Time // with Settings.Standby, since when the first in the queue has none; zero: it was not sent

	watermarkAt   time.Time // when the next watermark is due; zero: never, nothing was published
	watermarkStep int       // how many there were since the last event
	lastWatermark time.Time // when the last one was, or the first event after quiet time
	lastSent      time.Time // when the last event was
}

// watermarkDelays is when watermarks follow the last event: soon, because a lost tail shows only by
// them, and then ever more rarely, but for ever, because subscribers may be away for long.
var watermarkDelays = [...]time.Duration{250 * time.Millisecond, time.Second, 4 * time.Second, 16 * time.Second, time.Minute}

// watermarkEvery is how often there is a watermark while events flow. It tells late what began
// while a subscriber was away.
const watermarkEvery = 10 * time.Second

// abandonSeq notes that a number's Publish returned an error.
func (s *channelQueue) abandonSeq(seq uint64) {
	s.abandoned = s.abandoned.With(seqset.Range{From: seq, To: seq})
	s.abandonedText = s.abandoned.String()
	if s.window != nil {
		s.window.declare(time.Now(), seq)
	}
}

// scheduleWatermark schedules the watermark after an event.
func (s *channelQueue) scheduleWatermark(now time.Time) {
	if s.lastWatermark.IsZero() || s.watermarkStep > 0 {
		s.lastWatermark = now
	}
	s.watermarkStep, s.lastSent = 0, now
	s.watermarkAt = now.Add(watermarkDelays[0])
	if busy := s.lastWatermark.Add(watermarkEvery); busy.Before(s.watermarkAt) {
		s.watermarkAt = busy
	}
}

// watermarkSent notes a watermark and schedules the one after it. One that follows the last event
// at once does not count: who lost the event has lost the watermark too.
func (s *channelQueue) watermarkSent(now time.Time) {
	s.lastWatermark = now
	if tail := s.lastSent.Add(watermarkDelays[0]); tail.Sub(now) > watermarkSlack {
		s.watermarkAt = tail
		return
	}
	s.watermarkStep = min(s.watermarkStep+1, len(watermarkDelays)-1)
	s.watermarkAt = now.Add(watermarkDelays[s.watermarkStep])
}

// hastenWatermark schedules the next watermark for about now, but no sooner after the last one than
// a lost tail is told.
func (s *channelQueue) hastenWatermark(now time.Time) {
	at := now.Add(watermarkSlack)
	if rest := s.lastWatermark.Add(watermarkDelays[0]); rest.After(at) {
		at = rest
	}
	if at.Before(s.watermarkAt) {
		s.watermarkStep, s.watermarkAt = 0, at
	}
}

// blocked reports whether nothing is to be taken.
func (s *channelQueue) blocked() bool { return s.retrying || s.moving || !s.pausedUntil.IsZero() }

// number gives an event that is about to be written its number.
func (s *channelQueue) number(it *pendingEvent, now time.Time) {
	if it.seq == 0 && s.publisher != "" {
		if s.assigned == 0 {
			s.born = now
		}
		s.assigned++
		it.seq = s.assigned
		it.env.Seq = it.seq
	}
	it.abandonedText = s.abandonedText
}

// updateResolved computes resolved from the queue: all below the first number that is still open.
func (s *channelQueue) updateResolved() {
	s.resolved = s.assigned
	if len(s.pending) > 0 && s.pending[0].seq != 0 {
		s.resolved = s.pending[0].seq - 1
	}
}

// dropDone takes what is resolved off the queue. It is in front, unless something before it is to
// be sent again.
func (s *channelQueue) dropDone() {
	n := 0
	for n < len(s.pending) && s.pending[n].done {
		n++
	}
	k := copy(s.pending, s.pending[n:])
	clear(s.pending[k:])
	s.pending = s.pending[:k]
	if s.retrying {
		s.pending = slices.DeleteFunc(s.pending, func(it *pendingEvent) bool { return it.done })
	}
}

// prune drops what nobody waits for any more and is not in flight.
func (s *channelQueue) prune() {
	if !s.hasDead {
		return
	}
	s.hasDead = false
	s.pending = slices.DeleteFunc(s.pending, func(it *pendingEvent) bool {
		if it.dead && !it.inFlight {
			s.node.release(it)
			return true
		}
		s.hasDead = s.hasDead || it.dead
		return false
	})
	s.updateResolved()
}
