package track

import (
	"container/list"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
)

// stream is what is known of one publisher on the channel.
type stream struct {
	publisher string
	epoch     uint64 // as the publisher told; 0: it has not
	// base is the first number that concerns this channel; next is the floor: what lies from base to below next is
	// settled. While nothing is settled, base may still move down to low.
	base, next, low uint64
	held            []seqState // in ascending order
	bytes           int        // of held

	// searching: it is not known yet whether the stream began while the channel was live. What arrives waits. Base and floor
	// are 1 meanwhile.
	searching bool
	sure      bool      // the publisher, or its floor, says where the stream begins
	bornBy    time.Time // the earliest that a watermark nobody asked for said that number 1 was assigned; zero: none did

	askable bool       // the publisher is asked for what is missing
	askAt   time.Time  // when it is asked next; zero: it is not
	tries   int        // questions since the last sign of it
	asked   time.Time  // when the last question was put together
	firstN  uint64     // the first question, and
	askedN  uint64     // the last
	recent  []question // the last ones, oldest first; none while nothing is asked
	deaf    time.Time  // since when nobody listened where it is asked; zero: somebody did
	working time.Time  // when it last answered to some purpose

	confirmed bool         // it has answered a question
	assigned  uint64       // the highest number that it said it had assigned
	only      seqset.Range // what may be forged: these numbers are taken from answers alone

	doubt      bool      // it is asked where it stands
	doubtSince time.Time // when that question was first sent, or it last answered one from before a fault; zero: not yet
	// checked is the tracker's count of faults when the publisher was asked where it stood, and answered.
	checked uint64

	uncertain   string // the list that came with number uncertainAt
	uncertainAt uint64
	final       bool
	began, last time.Time // when it was heard of first, and last
	faults      uint64    // the tracker's count when it was heard of

	listed *list.Element // in Tracker.roll
	queued time.Time     // last, when it was put there
}

// question is one that was put to the publisher.
type question struct {
	n      uint64
	at     time.Time // when it was put together
	live   bool      // the channel was live then
	faults uint64    // the tracker's count then
}

// maxRecent is how many questions an answer may be to. Questions are repeated after Repair.MaxDelay, and a busy publisher
// takes longer than that to answer: if only the last question counted, none of its answers would.
const maxRecent = 16

// ask notes a question.
func (s *stream) ask(q question) {
	if s.firstN == 0 {
		s.firstN = q.n
	}
	s.asked, s.askedN = q.at, q.n
	if len(s.recent) == maxRecent {
		s.recent = append(s.recent[:0], s.recent[1:]...)
	}
	s.recent = append(s.recent, q)
}

// questionOf returns the question that an answer is to, if it is one of the last.
func (s *stream) questionOf(n uint64) (q question, ok bool) {
	for _, q := range slices.Backward(s.recent) {
		if q.n == n {
			return q, true
		}
	}
	return question{}, false
}

// heard notes a sign of life, and returns why something may be missing just before it.
func (s *stream) heard(now time.Time, t *Tracker) transport.GapReason {
	s.last = now
	if s.faults == t.faults {
		return transport.Unknown
	}
	s.faults = t.faults
	return t.reason
}

// maxUncertain is the length of the longest list of uncertain numbers: that of 16 ranges of numbers of 20 digits.
const maxUncertain = seqset.MaxRanges*(20+1+20+1) - 1

// learn keeps the most recent list of uncertain numbers. A publisher only ever adds to it.
func (s *stream) learn(seq uint64, uncertain string) {
	if uncertain != "" && seq >= s.uncertainAt && len(uncertain) <= maxUncertain {
		s.uncertainAt = seq
		if s.uncertain != uncertain {
			s.uncertain = strings.Clone(uncertain)
		}
	}
}

// doubtTimeouts is how many times as long as Repair.Timeout a publisher has to say where it stands: nobody waits for it, and
// it may have been cut off together with us.
const doubtTimeouts = 2

// due is when the first hole is given up, or the doubt is taken for certainty; zero if there is none, or not yet.
func (s *stream) due(cfg *Config) time.Time {
	if len(s.held) == 0 {
		if s.doubt && !s.doubtSince.IsZero() {
			return s.doubtSince.Add(doubtTimeouts * cfg.Repair.Timeout)
		}
		return time.Time{}
	}
	first := &s.held[0]
	switch {
	case s.searching:
		return first.since.Add(cfg.Repair.Timeout)
	case !s.askable:
		return first.deadline
	case first.asked.IsZero():
		return time.Time{} // the publisher could not be asked yet
	}
	from := first.asked
	if s.working.After(from) {
		from = s.working
	}
	at, end := from.Add(cfg.Repair.Timeout), first.asked.Add(holeTimeouts*cfg.Repair.Timeout)
	if end.Before(at) {
		at = end
	}
	return at
}

// report tells of missing numbers, cut where certainty changes.
func (t *Tracker) report(s *stream, from, to uint64, since time.Time, reason transport.GapReason) {
	given, err := seqset.Parse(s.uncertain)
	if err != nil {
		given = nil // a forger's text: nothing is known to have been given up
	}
	t.counts.Missing += to - from + 1
	given.Split(seqset.Range{From: from, To: to}, func(piece seqset.Range, inside bool) {
		kind := transport.Lost
		if inside {
			kind = transport.Uncertain
		}
		t.sink.Gap(Gap{
			Publisher: s.publisher, Epoch: s.epoch, From: piece.From, To: piece.To, Count: piece.Len(), Since: since,
			Kind: kind, Reason: reason,
		})
	})
}
