package fakecluster

import (
	"testing"
	"time"
)

// clientTimeout is longer than what rueidis leaves running behind Close: up to 5 s.
const clientTimeout = 10 * time.Second

// AwaitClients is for synctest bubbles, which fail the test when a goroutine of theirs remains: called first in the bubble, it
// lets ten seconds of virtual time pass at the end, behind all cleanups, in which what Redis clients leave behind can end.
// Outside a bubble the seconds would be real.
func AwaitClients(t testing.TB) {
	t.Cleanup(func() { time.Sleep(clientTimeout) }) // the first to be registered is the last to run
}
