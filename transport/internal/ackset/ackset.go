// Package ackset is what a consumer has settled of a partition: the first offset that is not
// settled, and a bit for each of the window behind it. So its size is bounded, whatever the
// disorder. It is pure.
package ackset

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Set is the settled offsets of a partition. Its zero value is of no use; see [New].
type Set struct {
	low    uint64
	window uint64
	bits   []uint64 // a ring: that of offset o is o % window
	// skip: offsets at or behind low + window and below skip are settled, as they were trimmed.
	skip uint64
}

// New makes a set in which all offsets below low are settled.
func New(low uint64, window int) *Set {
	return &Set{low: low, window: uint64(window), bits: make([]uint64, (window+63)/64)} //nolint:gosec // a window is positive
}

// Clone is a copy that shares nothing.
func (s *Set) Clone() *Set {
	twin := *s
	twin.bits = slices.Clone(s.bits)
	return &twin
}

// Low is the first offset that is not settled.
func (s *Set) Low() uint64 { return s.low }

// Window is how many offsets from Low on can be settled.
func (s *Set) Window() int { return int(s.window) } //nolint:gosec // it was an int

// End is the first offset that can't be settled yet.
func (s *Set) End() uint64 { return s.low + s.window }

// Settled reports whether an offset is settled.
func (s *Set) Settled(offset uint64) bool {
	switch {
	case offset < s.low:
		return true
	case offset >= s.End():
		return offset < s.skip
	default:
		return s.bit(offset)
	}
}

func (s *Set) bit(offset uint64) bool {
	at := offset % s.window
	return s.bits[at/64]&(1<<(at%64)) != 0
}

func (s *Set) set(offset uint64) {
	at := offset % s.window
	s.bits[at/64] |= 1 << (at % 64)
}

// Settle settles an offset below End, and reports whether it was not settled.
func (s *Set) Settle(offset uint64) bool {
	if s.Settled(offset) || offset >= s.End() {
		return false
	}
	s.set(offset)
	s.advance()
	return true
}

// advance moves low behind what is settled. It takes as long as the window is wide, at most.
func (s *Set) advance() {
	end := s.End()
	for s.low < end && s.bit(s.low) {
		at := s.low % s.window
		s.bits[at/64] &^= 1 << (at % 64)
		s.low++
	}
	if s.low == end { // every bit is cleared
		s.low = max(s.low, s.skip)
		return
	}
	for offset := end; offset < min(s.End(), s.skip); offset++ {
		s.set(offset)
	}
}

// Trim settles the offsets below first, but for those that are in flight, and tells which were not
// settled: count of them, from the first to the last. No offset at or behind End is in flight.
func (s *Set) Trim(first uint64, inFlight func(offset uint64) bool) (from, to, count uint64) {
	note := func(offset, n uint64) {
		if count == 0 {
			from = offset
		}
		to = offset + n - 1
		count += n
	}
	end := s.End()
	for offset := s.low; offset < min(first, end); offset++ {
		if !s.bit(offset) && !inFlight(offset) {
			note(offset, 1)
			s.set(offset)
		}
	}
	if begin := max(end, s.skip); first > begin {
		note(begin, first-begin)
		s.skip = first
	}
	s.advance()
	return from, to, count
}

// Unsettled is how many offsets below next are not settled.
func (s *Set) Unsettled(next uint64) uint64 {
	if next <= s.low {
		return 0
	}
	n := next - s.low
	for _, word := range s.bits {
		n -= uint64(bits.OnesCount64(word)) //nolint:gosec // 0 to 64
	}
	if s.skip > s.End() {
		n -= s.skip - s.End()
	}
	return n
}

// First is the first offset from at on that is not settled.
func (s *Set) First(at uint64) uint64 {
	offset := max(at, s.low)
	for offset < s.End() && s.bit(offset) {
		offset++
	}
	if offset >= s.End() {
		offset = max(offset, s.skip)
	}
	return offset
}

// Acked are the offsets from Low to End that are settled, ascending.
func (s *Set) Acked() (offsets []uint64) {
	for offset := s.low; offset < s.End(); offset++ {
		if s.bit(offset) {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// Append appends the set to dst, for [Read].
func (s *Set) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.low)
	dst = binary.AppendUvarint(dst, s.window)
	dst = binary.AppendUvarint(dst, s.skip)
	start := len(dst)
	dst = append(dst, make([]byte, (s.window+7)/8)...)
	for at := range s.window {
		if s.bit(s.low + at) {
			dst[start+int(at/8)] |= 1 << (at % 8) //nolint:gosec // a window is an int
		}
	}
	for len(dst) > start && dst[len(dst)-1] == 0 {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// Read reads what Append has written, up to its end. It reports false if that is no set with a
// window of 1 to maxWindow.
func Read(src []byte, maxWindow int) (*Set, bool) {
	var head [3]uint64
	for i := range head {
		v, n := binary.Uvarint(src)
		if n <= 0 {
			return nil, false
		}
		head[i], src = v, src[n:]
	}
	low, window, skip := head[0], head[1], head[2]
	if low == 0 || window == 0 || window > uint64(maxWindow) || low+window < low || uint64(len(src)) > (window+7)/8 { //nolint:gosec // positive
		return nil, false
	}
	s := New(low, int(window)) //nolint:gosec // at most maxWindow
	s.skip = skip
	for at := range uint64(len(src)) * 8 {
		if src[at/8]&(1<<(at%8)) == 0 {
			continue
		}
		if at == 0 || at >= window {
			return nil, false // low is not settled, and nothing is behind the window
		}
		s.set(low + at)
	}
	return s, true
}
