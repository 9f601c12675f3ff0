// Package pubseq decides which batches of a publisher a partition takes: each number once, without
// holes. It is pure.
package pubseq

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// State is what a partition knows of a publisher. Its zero value is one that is not known.
type State struct {
	Epoch uint32
	// Last is the number of the last event that was taken; 0: none, so it is not known.
	Last uint64
	// Seen is when that was.
	Seen time.Time
	// First is the number with which the last batch began, and Result what became of it.
	First  uint64
	Result transport.AppendResult
}

// Idle reports whether the publisher may be forgotten.
func (s State) Idle(now time.Time) bool { return now.Sub(s.Seen) >= transport.PublisherIdle }

// Check decides about a batch of n events: it is to be taken, or was taken before, with the result
// that it had, or is refused.
func (s State) Check(p transport.PublisherState, n int, now time.Time) (take bool, before transport.AppendResult, err error) {
	if p.ID == "" {
		return true, before, nil
	}
	if s.Last > 0 && s.Idle(now) {
		s = State{}
	}
	last := s.Last
	switch {
	case s.Last > 0 && p.Epoch < s.Epoch:
		return false, before, fmt.Errorf("%w: publisher %s has epoch %d, the batch %d", transport.ErrStalePublisher, p.ID, s.Epoch, p.Epoch)
	case p.Epoch > s.Epoch:
		last = 0
	}
	end := p.Seq + uint64(n) - 1 //nolint:gosec // a batch has events
	switch {
	case p.Seq == 0 || end < p.Seq:
	case p.Seq == last+1:
		return true, before, nil
	case end <= last:
		if p.Seq == s.First && end == last {
			before = s.Result
		}
		before.Repeated = true
		return false, before, nil
	}
	return false, before, fmt.Errorf("%w: the last number of publisher %s is %d, the batch has %d to %d", transport.ErrOutOfSequence, p.ID, last, p.Seq, end)
}

// Took is the state after a batch of n events was taken, with its result.
func Took(p transport.PublisherState, n int, r transport.AppendResult, now time.Time) State {
	return State{Epoch: p.Epoch, Last: p.Seq + uint64(n) - 1, Seen: now, First: p.Seq, Result: r} //nolint:gosec // a batch has events
}

// Append appends the state to dst, for [Read].
func (s State) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Epoch))
	dst = binary.AppendUvarint(dst, s.Last)
	dst = binary.AppendVarint(dst, s.Seen.UnixNano())
	dst = binary.AppendUvarint(dst, s.First)
	dst = binary.AppendUvarint(dst, s.Result.First)
	dst = binary.AppendUvarint(dst, uint64(len(s.Result.Waiting)))
	for _, w := range s.Result.Waiting {
		dst = binary.AppendUvarint(dst, uint64(w)) //nolint:gosec // an index
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Result.Duplicate)))
	for _, d := range s.Result.Duplicate {
		dst = binary.AppendUvarint(dst, uint64(d.Index)) //nolint:gosec // an index
		dst = binary.AppendUvarint(dst, d.Offset)
	}
	return dst
}

// Read reads what Append has written. It reports false if that is no state.
func Read(src []byte) (s State, ok bool) {
	r := reader{src: src, ok: true}
	epoch := r.uvarint()
	s.Last = r.uvarint()
	s.Seen = time.Unix(0, r.varint())
	s.First = r.uvarint()
	s.Result.First = r.uvarint()
	for range r.count() {
		s.Result.Waiting = append(s.Result.Waiting, r.index())
	}
	for range r.count() {
		s.Result.Duplicate = append(s.Result.Duplicate, transport.Duplicate{Index: r.index(), Offset: r.uvarint()})
	}
	if !r.ok || len(r.src) > 0 || epoch > 1<<32-1 {
		return State{}, false
	}
	s.Epoch = uint32(epoch)
	return s, true
}

// reader reads numbers. At what is too short it stops being ok, and reads zeros.
type reader struct {
	src []byte
	ok  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src)
	if n <= 0 {
		r.src, r.ok = nil, false
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.src)
	if n <= 0 {
		r.src, r.ok = nil, false
		return 0
	}
	r.src = r.src[n:]
	return v
}

// count is how many follow, each of one byte at least.
func (r *reader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.src)) {
		r.src, r.ok = nil, false
		return 0
	}
	return n
}

func (r *reader) index() int {
	v := r.uvarint()
	if v > 1<<31-1 {
		r.ok = false
		return 0
	}
	return int(v) //nolint:gosec // checked
}
