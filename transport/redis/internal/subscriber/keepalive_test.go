package subscriber

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestKeepalive: a connection on which something arrives between looks is never dead, however late the looks; a silent one
// is asked once, and dead after the time-out.
func TestKeepalive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := keepalive{timeout: time.Second}
		reads, quiet := uint64(0), 0
		for range 200 {
			if rapid.IntRange(0, 12).Draw(t, "arrives") == 0 {
				reads, quiet = reads+1, -1
			}
			ask, dead, wait := s.look(reads)
			if quiet++; ask != (quiet == 1) || dead != (quiet > maxMissedLooks) {
				t.Fatalf("after %d looks that found nothing: ask %v, dead %v", quiet, ask, dead)
			}
			if dead {
				return
			}
			if want := map[bool]time.Duration{true: keepaliveIdle, false: s.timeout / maxMissedLooks}[quiet == 0]; wait != want {
				t.Fatalf("after %d looks that found nothing: %v, want %v", quiet, wait, want)
			}
		}
	})
}
