package supervisor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The ring of times gives the same answers as counting.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.SampledFrom([]int{NoRestarts, Unlimited, 1, 2, 3, 7}).Draw(rt, "limit")
		w := newRestartWindow(limit, 100)
		var admitted []time.Time
		now := dawn
		for range 50 {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "gap")))
			recent := 0
			for _, at := range admitted {
				if now.Sub(at) <= 100 {
					recent++
				}
			}
			want := limit == Unlimited || recent < limit
			if got := w.admit(now); got != want {
				rt.Fatalf("admitted: %v, with %d of %d", got, recent, limit)
			}
			if want {
				admitted = append(admitted, now)
			}
		}
	})
}
