package ackset_test

import (
	"slices"
	"testing"

	"github.com/shardbus/shardbus/transport/internal/ackset"
	"pgregory.net/rapid"
)

// model is the same as a plain set.
type model struct {
	settled map[uint64]bool
	window  uint64
	low     uint64
}

func (m *model) advance() {
	for m.settled[m.low] {
		m.low++
	}
}

// TestModel: whatever is settled and trimmed, the set says what a plain set of all offsets says.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.SampledFrom([]int{1, 2, 7, 64, 65, 130}).Draw(t, "window")
		low := rapid.Uint64Range(1, 100).Draw(t, "low")
		s, m := ackset.New(low, window), &model{settled: make(map[uint64]bool), window: uint64(window), low: low}
		next := low
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { next += rapid.Uint64Range(1, 100).Draw(t, "n") },
			"settle": func(t *rapid.T) {
				offset := rapid.Uint64Range(max(1, m.low-min(m.low, 3)), m.low+m.window+2).Draw(t, "offset")
				want := offset >= m.low && offset < m.low+m.window && !m.settled[offset]
				if got := s.Settle(offset); got != want {
					t.Fatalf("Settle(%d) = %v", offset, got)
				}
				if want {
					m.settled[offset] = true
					m.advance()
				}
			},
			"trim": func(t *rapid.T) {
				first := rapid.Uint64Range(1, next).Draw(t, "first")
				busy := rapid.Uint64Range(0, m.low+m.window).Draw(t, "busy")
				inFlight := func(offset uint64) bool { return offset%3 == 0 && offset <= busy }
				var lost []uint64
				end := m.low + m.window
				for offset := m.low; offset < first; offset++ {
					if !m.settled[offset] && (offset >= end || !inFlight(offset)) {
						lost = append(lost, offset)
						m.settled[offset] = true
					}
				}
				m.advance()
				from, to, count := s.Trim(first, inFlight)
				if count != uint64(len(lost)) || count > 0 && (from != lost[0] || to != lost[len(lost)-1]) {
					t.Fatalf("Trim: %d to %d, %d of them; want %v", from, to, count, lost)
				}
			},
			"": func(t *rapid.T) { compare(t, s, m, next) },
		})
	})
}

func compare(t *rapid.T, s *ackset.Set, m *model, next uint64) {
	if s.Low() != m.low || s.End() != m.low+m.window {
		t.Fatalf("low %d, end %d; want %d", s.Low(), s.End(), m.low)
	}
	var unsettled uint64
	var acked []uint64
	for offset := uint64(1); offset < max(next, s.End())+3; offset++ {
		settled := offset < m.low || m.settled[offset]
		if s.Settled(offset) != settled {
			t.Fatalf("Settled(%d) = %v", offset, !settled)
		}
		if settled && offset >= m.low && offset < s.End() {
			acked = append(acked, offset)
		}
		if !settled && offset < next {
			unsettled++
		}
	}
	if next >= s.End() && s.Unsettled(next) != unsettled {
		t.Fatalf("%d are not settled, want %d", s.Unsettled(next), unsettled)
	}
	if got := s.Acked(); !slices.Equal(got, acked) {
		t.Fatalf("acked %v, want %v", got, acked)
	}
	if first := s.First(0); first != m.low {
		t.Fatalf("the first is %d, want %d", first, m.low)
	}
	again, ok := ackset.Read(s.Append(nil), 130)
	if !ok || string(again.Append(nil)) != string(s.Append(nil)) || !slices.Equal(again.Acked(), acked) {
		t.Fatalf("read %v, %v", again, ok)
	}
}

// TestFarTrim: to trim a billion events takes no longer than to trim a few.
func TestFarTrim(t *testing.T) {
	s := ackset.New(1, 64)
	s.Settle(3)
	if from, to, count := s.Trim(1e9, func(o uint64) bool { return o == 5 }); from != 1 || to != 1e9-1 || count != 1e9-1-2 {
		t.Errorf("%d to %d, %d", from, to, count)
	}
	if s.Low() != 5 || s.Unsettled(1e9+7) != 8 || s.First(6) != 1e9 {
		t.Errorf("low %d, %d not settled, first %d", s.Low(), s.Unsettled(1e9+7), s.First(6))
	}
	if !s.Settle(5) || s.Low() != 1e9 {
		t.Errorf("low %d", s.Low())
	}
}

// FuzzRead: whatever is read is a set that can be written, and is the same then.
func FuzzRead(f *testing.F) {
	s := ackset.New(7, 100)
	s.Settle(9)
	f.Add(s.Append(nil))
	f.Add([]byte{1, 1, 0, 1})
	f.Fuzz(func(t *testing.T, src []byte) {
		s, ok := ackset.Read(src, 1<<16)
		if !ok {
			return
		}
		again, ok := ackset.Read(s.Append(nil), 1<<16)
		if !ok || string(again.Append(nil)) != string(s.Append(nil)) {
			t.Errorf("%v became %v", s, again)
		}
	})
}
