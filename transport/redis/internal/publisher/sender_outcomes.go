package publisher

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster/redirect"
)

// outcome is what became of one event of a batch.
type outcome struct {
	receivers int
	err       error // final
	retry     bool  // to be sent again
	unknown   bool  // the server may have accepted it
	moved     bool  // the server says that the slot is at another
	to        string
}

// applyOutcomes takes in the outcomes of a batch, in its order. It reports whether a channel that
// had receivers has none any more, and whether such events, or others that would be sent around,
// are to be sent again in a moment only.
func (o *sender) applyOutcomes(l *nodeQueue, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	b.done = b.done[:0]
	deserted, stirred = o.applyOutcomesLocking(l, b, outcomes, failure)
	for i, c := range b.done {
		c.done <- struct{}{} // outside the lock, which is the first that they want
		b.done[i] = nil
	}
	return deserted, stirred
}

func (o *sender) applyOutcomesLocking(l *nodeQueue, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	l.mu.Lock()
	if !b.moves(outcomes) {
		defer l.mu.Unlock()
		return o.applyOutcomesLocked(l, b, outcomes, failure)
	}
	l.mu.Unlock()
	o.lockAll()
	defer o.unlockAll()
	return o.applyOutcomesLocked(l, b, outcomes, failure)
}

// moves reports whether channel queues may go to another node queue, or be paused, when a batch is
// resolved. The caller holds the lock of the one that they are on.
func (b *batch) moves(outcomes []outcome) bool {
	return slices.ContainsFunc(outcomes, func(out outcome) bool { return out.moved }) ||
		slices.ContainsFunc(b.queues, func(s *channelQueue) bool { return s.moving || s.redirected })
}

// applyOutcomesLocked is for who holds the node queue's lock, or if the batch moves channel queues,
// all locks.
func (o *sender) applyOutcomesLocked(l *nodeQueue, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	now := time.Now()
	l.lastErr = failure
	var moved []int
	for i, it := range b.events {
		out, s := &outcomes[i], it.queue
		it.inFlight = false
		s.inFlight--
		if it.isLarge() {
			l.largeInFlight -= it.size
		}
		if out.retry && o.mu.err != nil {
			*out = outcome{err: o.mu.err}
		}
		if out.err == nil && !out.retry && out.receivers == 0 && s.resendsUnheard(o.cfg, now) {
			out.retry, out.unknown = true, true
			deserted, stirred = true, true
		}
		if out.retry {
			it.repeated = it.repeated || out.unknown
			it.doc = nil // what it says of numbers may be another by then
			s.retrying = true
			if out.moved {
				s.redirected = true
				o.mu.redirects.Note(redirect.Moved{Slot: s.slot, From: l.Addr, To: out.to, Target: o.targetLocked(s.slot, s.class).Addr}, now)
				if home := o.targetLocked(s.slot, s.class); home.writers == 0 {
					home.lastErr = failure // for who waits there
				}
				moved = append(moved, s.slot)
			}
			continue
		}
		it.done = true
		l.release(it)
		s.scheduleWatermark(now)
		if out.err == nil {
			deserted = deserted || out.receivers == 0 && s.hadReceivers
			s.hadReceivers, s.unheardSince, s.redirects = out.receivers > 0, time.Time{}, 0
		}
	}
	if o.memories != nil {
		o.memories[l.Class].remember(now, b, outcomes)
	}
	l.inFlight -= len(b.events)
	for _, s := range b.queues {
		// What is to be sent again stays in front, in order, and nothing newer on the channel is
		// sent before it: not until all that was sent before that became known is resolved.
		s.dropDone()
		if s.inFlight == 0 {
			s.retrying = false
			if rest := s.redirectLoop(); rest > shortPause { // the next question about the topology ends it, or one after that
				s.pausedUntil = now.Add(rest)
				o.mu.paused[s] = struct{}{}
			} else {
				stirred = stirred || rest > 0
			}
		}
		s.prune()
		s.updateResolved()
		l.watermarkBy(s.watermarkAt)
		if s.moving {
			o.moveLocked(s)
		}
		if s.node == l {
			l.makeReady(s)
		}
	}
	for _, slot := range moved {
		for _, s := range o.mu.bySlot[slot] {
			o.moveLocked(s)
		}
	}
	for i, it := range b.events {
		if out := outcomes[i]; !out.retry {
			if c := o.finishLocked(it, out); c != nil { // from here on the event is its caller's again
				b.done = append(b.done, c)
			}
		}
	}
	l.updateCounts()
	l.makeRoom()
	return deserted, stirred
}

// finishLocked tells an event's caller how it ended, unless the caller has left. It returns the
// call if that was the last.
func (o *sender) finishLocked(it *pendingEvent, out outcome) (ended *publishCall) {
	c := it.caller
	it.caller = nil
	if it.dead {
		return nil
	}
	if out.err != nil && it.seq != 0 {
		it.queue.abandonSeq(it.seq)
	}
	c.results[it.index] = transport.Result{Receivers: out.receivers, Repeated: it.repeated, Seq: it.seq, Err: out.err}
	if c.release() {
		return c
	}
	return nil
}
