package track

import (
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqs"
)

// stream is what is known of one publisher on the channel.
type stream struct {
	publisher string
	epoch     uint64 // as the publisher told; 0: it has not
	// base is the first number that concerns this channel; next is the floor: what lies from base to below next is
	// settled.
	base, next uint64
	held       []entry // in ascending order
	bytes      int     // of held

	// searching: it is not known yet whether the stream began while the channel was live. What arrives waits. Base and floor
	// are 1 meanwhile.
	searching bool

	askable bool      // the publisher is asked for what is missing
	askAt   time.Time // when it is asked next; zero: it is not
	tries   int       // questions since the last sign of it
	asked   time.Time // when the last question was put together
	askedN  uint64    // and which it was
	deaf    time.Time // since when nobody listened where it is asked; zero: somebody did
	working time.Time // when it last answered to some purpose

	uncertain   string // the list that came with number uncertainAt
	uncertainAt uint64
	final       bool
	last        time.Time // when it was heard of
	faults      uint64    // the tracker's count when it was heard of
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

// learn keeps the most recent list of uncertain numbers. A publisher only ever adds to it.
func (s *stream) learn(seq uint64, uncertain string) {
	if uncertain != "" && seq >= s.uncertainAt {
		s.uncertainAt = seq
		if s.uncertain != uncertain {
			s.uncertain = strings.Clone(uncertain)
		}
	}
}

// due is when the first hole is given up; zero if there is none, or not yet.
func (s *stream) due(cfg *Config) time.Time {
	if len(s.held) == 0 {
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
	at, end := from.Add(cfg.Repair.Timeout), first.asked.Add(patience*cfg.Repair.Timeout)
	if end.Before(at) {
		at = end
	}
	return at
}

// report tells of missing numbers, cut where certainty changes.
func (t *Tracker) report(s *stream, from, to uint64, since time.Time, reason transport.GapReason) {
	given, err := seqs.Parse(s.uncertain)
	if err != nil {
		given = nil // a stranger's text: nothing is known to have been given up
	}
	t.counts.Missing += to - from + 1
	given.Split(seqs.Range{From: from, To: to}, func(piece seqs.Range, inside bool) {
		kind := transport.Lost
		if inside {
			kind = transport.Uncertain
		}
		t.sink.Gap(Gap{
			Publisher: s.publisher, Epoch: s.epoch, From: piece.From, To: piece.To, Since: since, Kind: kind, Reason: reason,
		})
	})
}
