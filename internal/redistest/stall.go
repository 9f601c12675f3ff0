package redistest

import (
	"slices"
	"time"
)

// A Stall is a stretch of time in which a [Control] stood still.
type Stall struct{ From, To time.Time }

// OwnTime returns the length of the stretch from one moment to another, without the parts of it in which the control stood
// still. Stalls may be in any order and overlap: what several of them cover is left out once. Without a stall it is the
// whole length, and it is never negative.
func OwnTime(from, to time.Time, stalls []Stall) time.Duration {
	if !from.Before(to) {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(stalls), func(a, b Stall) int { return a.From.Compare(b.From) })
	own, at := time.Duration(0), from // what is before at is counted
	for _, s := range sorted {
		if !s.From.Before(to) {
			break
		}
		if !s.From.Before(s.To) {
			continue
		}
		if s.From.After(at) {
			own += s.From.Sub(at)
		}
		if s.To.After(at) {
			at = s.To
		}
	}
	if to.After(at) {
		own += to.Sub(at)
	}
	return own
}

// stallOf returns the part of a step that counts as a stall: what is beyond slack.
func stallOf(due, done time.Time, slack time.Duration) (s Stall, ok bool) {
	s = Stall{From: due.Add(slack), To: done}
	return s, s.From.Before(s.To)
}
