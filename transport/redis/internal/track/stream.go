package track

import (
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqs"
)

// stream is what is known of one publisher on the channel.
type stream struct {
	publisher string
	// base is the first number that concerns this channel; next is the floor: what lies from base to below next is
	// settled.
	base, next uint64
	// held is in ascending order of both numbers and deadlines: who waits for a later number waits for the earlier
	// ones too, and no longer.
	held []entry

	uncertain   string // the list that came with number uncertainAt
	uncertainAt uint64
	final       bool
	last        time.Time // when it was heard of
	faults      uint64    // the tracker's count when it was heard of
}

// entry is a reason to believe that every number below seq was sent: an event that waits, or a watermark.
type entry struct {
	seq      uint64
	env      *transport.Envelope // nil: a watermark
	deadline time.Time
	since    time.Time
	reason   transport.GapReason
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

func (s *stream) insert(e entry) {
	i, found := slices.BinarySearchFunc(s.held, e.seq, func(have entry, seq uint64) int {
		switch {
		case have.seq < seq:
			return -1
		case have.seq > seq:
			return 1
		}
		return 0
	})
	if found {
		if s.held[i].env == nil {
			s.held[i].env = e.env
		}
		return
	}
	if i < len(s.held) && s.held[i].deadline.Before(e.deadline) {
		e.deadline = s.held[i].deadline
	}
	if i < len(s.held) && e.reason == transport.Unknown {
		e.reason = s.held[i].reason // the hole before both was there first
	}
	if i < len(s.held) && s.held[i].since.Before(e.since) {
		e.since = s.held[i].since
	}
	for j := range i {
		if s.held[j].deadline.After(e.deadline) {
			s.held[j].deadline = e.deadline
		}
	}
	s.held = slices.Insert(s.held, i, e)
}

func (s *stream) pop() entry {
	e := s.held[0]
	s.held[0] = entry{}
	s.held = s.held[1:]
	if len(s.held) == 0 {
		s.held = nil
	}
	return e
}

// due is when the first hole is given up; zero if there is none.
func (s *stream) due() time.Time {
	if len(s.held) == 0 {
		return time.Time{}
	}
	return s.held[0].deadline
}

// report tells of missing numbers, cut where certainty changes.
func (t *Tracker) report(s *stream, from, to uint64, since time.Time, reason transport.GapReason) {
	given, err := seqs.Parse(s.uncertain)
	if err != nil {
		given = nil // a stranger's text: nothing is known to have been given up
	}
	given.Split(seqs.Range{From: from, To: to}, func(piece seqs.Range, inside bool) {
		kind := transport.Lost
		if inside {
			kind = transport.Uncertain
		}
		t.sink.Gap(Gap{Publisher: s.publisher, From: piece.From, To: piece.To, Since: since, Kind: kind, Reason: reason})
	})
}
