package transport

import (
	"errors"
	"fmt"
	"time"
)

// HealthReporter is a transport that can say which of its parts do not work. bus.Bus.Health asks
// it.
type HealthReporter interface {
	// Health is the state of the transport at this moment. It does no I/O and does not wait.
	// Nothing is down when every published event goes to the broker at once, and every subscription
	// is live.
	Health() Health
}

// Health is the state of a transport at one moment.
type Health struct {
	// Down is what does not work; nil if all does.
	Down []Part
	// Degraded is what does not work and is not needed while all else does, such as a standby
	// replica of a primary; nil if there is nothing. A degraded transport is ready: the next fault
	// would only be felt for longer.
	Degraded []Part
}

// Part is a part of a transport that does not work.
type Part struct {
	// Name identifies it, for example "shard 10.0.0.5:6379".
	Name string
	// Since is when that was noticed; zero if it is not known.
	Since time.Time
	// Err is the reason, or what is missing; never nil.
	Err error
}

func (p Part) String() string { return fmt.Sprintf("%s: %v", p.Name, p.Err) }

// ErrNotServing is why a transport is down while no Serve runs.
var ErrNotServing = errors.New("it is not served yet")
