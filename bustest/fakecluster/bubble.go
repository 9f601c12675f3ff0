package fakecluster

import (
	"testing"
	"time"
)

// lingering is longer than what rueidis leaves running behind Close: up to 5 s.
const lingering = 10 * time.Second

// Linger is for synctest bubbles, which fail the test when a goroutine of theirs remains: called first in the bubble, it
// lets ten seconds of virtual time pass at the end, behind all cleanups, in which what Redis clients leave behind can end.
// Outside a bubble the seconds would be real.
func Linger(t testing.TB) {
	t.Cleanup(func() { time.Sleep(lingering) }) // the first to be registered is the last to run
}
