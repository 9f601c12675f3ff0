package doctor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestKnownDigits: a difference of clocks is told with the digits that are known: whatever a busy
// machine adds to it, an hour is an hour, and not 59m59.96s.
func TestKnownDigits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hours := time.Duration(rapid.IntRange(-24, 24).Draw(t, "hours")) * time.Hour
		limit := rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "limit")
		off := time.Duration(rapid.Int64Range(-limit, limit).Draw(t, "off"))
		if got := known(hours+off, time.Duration(limit)); got != hours {
			t.Fatalf("%v, known to within %v, is told as %v", hours+off, time.Duration(limit), got)
		}
	})
	if got := known(90*time.Second+1234567, 100*time.Microsecond); got != 90*time.Second+time.Millisecond {
		t.Errorf("known to the millisecond: %v", got)
	}
}
