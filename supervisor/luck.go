package supervisor

import (
	"math/rand/v2"
	"sync"

	"github.com/shardbus/shardbus/internal/usercode"
)

// luck draws for jitter from Spec.Rand, which is user code: under no lock but its own.
type luck struct {
	rand func() float64 // nil is math/rand/v2
	mu   sync.Mutex     // held while rand runs, so that calls never overlap
}

// draw returns a number of [0, 1). A source that panics, ends its goroutine or is out of range is
// worth no more than a delay in the middle.
func (l *luck) draw() (roll float64) {
	if l.rand == nil {
		return rand.Float64()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := usercode.Call("Spec.Rand", func() error {
		roll = l.rand()
		return nil
	})
	if err != nil || !(roll >= 0 && roll < 1) {
		return 0.5
	}
	return roll
}
