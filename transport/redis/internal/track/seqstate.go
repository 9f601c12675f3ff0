package track

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// seqState is something that is known of numbers above the floor. Every one is a reason to believe that all numbers below it
// were assigned.
type seqState struct {
	kind seqKind
	// from and to are the numbers it settles. A mark settles none, and stands before from.
	from, to uint64
	env      *transport.Envelope // of an event
	repaired bool                // it came by an answer
	// head: it stood behind a hole when it came, or behind what an answer settled, and its publisher has not said yet that
	// it is the event of that number.
	head  bool
	after uint64 // the last question to the publisher that was put together before it came

	deadline time.Time // when the hole before it is given up, if nobody is asked
	covered  bool      // a question for the hole before it, or for itself, was put together
	asked    time.Time // when the first such was sent; zero: not yet

	since  time.Time
	reason transport.GapReason
}

type seqKind uint8

const (
	anEvent seqKind = iota
	aMark           // a watermark
	aVoid           // numbers that will not come
	aGone           // numbers that the publisher has forgotten
	aHuge           // an event that is too large to be delivered
)

// came reports whether the entry is something that came on the channel, and so may be anybody's.
func (e *seqState) came() bool {
	return !e.repaired && (e.kind == anEvent || e.kind == aHuge || e.kind == aMark)
}

// isEvent reports whether the entry is an event that came on the channel.
func (e *seqState) isEvent() bool { return !e.repaired && (e.kind == anEvent || e.kind == aHuge) }

// size is what the entry counts against bounds in bytes.
func (e *seqState) size() int {
	if e.env == nil {
		return 0
	}
	return e.env.Size()
}

// search returns where in held an entry from that number is or would be.
func (s *stream) search(from uint64) (int, bool) {
	return slices.BinarySearchFunc(s.held, from, func(have seqState, from uint64) int {
		switch {
		case have.from < from:
			return -1
		case have.from > from:
			return 1
		}
		return 0
	})
}

// insert puts an entry in its place. It concerns numbers that no other settles. Who waits for a later number waits for
// the earlier ones too, so what is known of the hole behind it holds for the one before it.
func (s *stream) insert(t *Tracker, e seqState) {
	e.after = s.askedN
	i, found := s.search(e.from)
	e.head = s.askable && e.isEvent() && !s.chained(i, e.from)
	if found {
		if have := &s.held[i]; have.kind == aMark && e.kind != aMark {
			have.kind, have.to, have.env, have.repaired = e.kind, e.to, e.env, e.repaired
			have.after, have.head = e.after, e.head // the event was not known before
			s.spend(t, have.size())
		}
		return
	}
	if i < len(s.held) {
		behind := &s.held[i]
		if behind.deadline.Before(e.deadline) {
			e.deadline = behind.deadline
		}
		e.covered = behind.covered
		if e.asked.IsZero() {
			e.asked = behind.asked
		}
		if e.reason == transport.Unknown {
			e.reason = behind.reason
		}
		if behind.since.Before(e.since) {
			e.since = behind.since
		}
	}
	for j := i - 1; j >= 0 && s.held[j].deadline.After(e.deadline); j-- { // they ascend
		s.held[j].deadline = e.deadline
	}
	s.held = slices.Insert(s.held, i, e)
	s.spend(t, e.size())
}

// chained reports whether a number, whose entry is or would be at i, is the floor, or follows an event that came on the
// channel as well. What the publisher said in an answer of the number before says nothing of who sent this one.
func (s *stream) chained(i int, from uint64) bool {
	if i == 0 {
		return from <= s.next
	}
	before := &s.held[i-1]
	return before.isEvent() && before.to+1 == from
}

func (s *stream) pop(t *Tracker) seqState {
	e := s.held[0]
	s.held[0] = seqState{}
	s.held = s.held[1:]
	if len(s.held) == 0 {
		s.held = nil
	}
	s.spend(t, -e.size())
	return e
}

// cut takes away the entries from lo to below hi.
func (s *stream) cut(t *Tracker, lo, hi int) {
	for i := lo; i < hi; i++ {
		s.spend(t, -s.held[i].size())
	}
	s.held = slices.Delete(s.held, lo, hi)
	if len(s.held) == 0 {
		s.held = nil
	}
}

// spend notes that more or less waits.
func (s *stream) spend(t *Tracker, bytes int) {
	s.bytes += bytes
	if r := t.cfg.Repair; r != nil {
		r.Budget.add(bytes)
		if !s.confirmed {
			r.Budget.loose.Add(int64(bytes))
		}
	}
}

// wanted calls yield for each run of numbers above the floor that the publisher is to be asked for, in ascending order,
// until it returns false: those that nothing settles and that were assigned, and those of events behind a hole, which the
// publisher has to send too before they are believed. It must not change the stream.
func (s *stream) wanted(yield func(from, to uint64) bool) {
	next := s.next
	for i := range s.held {
		e := &s.held[i]
		if e.from > next && !yield(next, e.from-1) {
			return
		}
		if e.head && !yield(e.from, e.from) {
			return
		}
		next = max(next, e.from)
		if e.kind != aMark {
			next = max(next, e.to+1)
		}
	}
}
