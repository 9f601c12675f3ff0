package transport

import (
	"errors"
	"fmt"
	"time"
)

// HealthReporter is a transport that can say what of it does not work. bus.Bus.Health asks it.
type HealthReporter interface {
	// Health says how the transport is at this moment. It does no I/O and waits for nobody.
	// Nothing is down when whatever is published goes to the broker at once, and all that is
	// subscribed to is live.
	Health() Health
}

// Health is how a transport is at one moment.
type Health struct {
	// Down is what does not work; nil if all does.
	Down []Part
	// Degraded is what does not work and is not needed while all else does, such as a replica that
	// stands by for a primary; nil if there is nothing. A fault is felt more meanwhile, and that is
	// all: who is degraded is ready.
	Degraded []Part
}

// Part is a part of a transport that does not work.
type Part struct {
	// Name says which, for example "shard 10.0.0.5:6379".
	Name string
	// Since is when that was noticed; zero if it is not known.
	Since time.Time
	// Err is why, or what is missing; never nil.
	Err error
}

func (p Part) String() string { return fmt.Sprintf("%s: %v", p.Name, p.Err) }

// ErrNotServing is why a transport is down while no Serve runs.
var ErrNotServing = errors.New("it is not served yet")
