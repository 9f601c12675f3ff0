package supervisor

import (
	"errors"
	"fmt"
	"time"
)

// Values of [Spec.MaxRestarts] with a meaning of their own.
const (
	// Unlimited allows any number of restarts.
	Unlimited = -1
	// NoRestarts gives up at the first failure (OTP's intensity 0).
	NoRestarts = -2
)

// Defaults of [Spec].
const (
	DefaultMaxRestarts = 5
	DefaultWithin      = time.Minute
)

// Strategy says which children are restarted when one fails.
type Strategy uint8

const (
	// OneForOne restarts the child that failed and touches no other. This is the zero value.
	OneForOne Strategy = iota
	// OneForAll stops all children, in reverse order, and then starts all.
	OneForAll
	// RestForOne stops the children after the failed one, in reverse order, and then starts the
	// failed one and those.
	RestForOne
)

// String returns the name of the strategy as OTP spells it.
func (s Strategy) String() string {
	switch s {
	case OneForOne:
		return "one_for_one"
	case OneForAll:
		return "one_for_all"
	case RestForOne:
		return "rest_for_one"
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

// AutoShutdown says whether a supervisor ends when its significant children do. Only a child that
// ended by itself, for good, counts: a Transient child that returned nil or ErrDone, a Temporary
// child that ended in any way.
type AutoShutdown uint8

const (
	// Never ignores Child.Significant. This is the zero value.
	Never AutoShutdown = iota
	// AnySignificant ends the supervisor with the first significant child.
	AnySignificant
	// AllSignificant ends the supervisor with the last significant child.
	AllSignificant
)

// Spec configures a [Supervisor]. Only Name is required.
type Spec struct {
	// Name names the supervisor in its tree, events and errors. Required.
	Name string

	// Strategy says which children a failure restarts. Zero: OneForOne.
	Strategy Strategy

	// MaxRestarts is how many restarts any stretch of time as long as Within may hold; one more and
	// the supervisor stops its children and Serve returns a *TooManyRestarts. The restart of a
	// group counts once, and a restart that fails counts again. Zero: DefaultMaxRestarts.
	// Unlimited, NoRestarts.
	MaxRestarts int

	// Within is the length of the sliding window of MaxRestarts. Zero: DefaultWithin.
	Within time.Duration

	// Backoff delays restarts. Each child counts its own.
	Backoff Backoff

	// AutoShutdown ends the supervisor with its significant children. Zero: Never.
	AutoShutdown AutoShutdown

	// OnEvent, if set, is told what happens, one event at a time and in order. It runs on a
	// goroutine of its own, which lives only while there is something to tell: it may call any
	// method of the supervisor, and when it blocks or panics the supervisor works on. What it is
	// too slow for is dropped and counted in Event.Lost. Serve returns after its last event was
	// handled, unless OnEvent runs for HookGrace meanwhile.
	OnEvent func(Event)

	// Rand draws from [0, 1) for jitter; calls never overlap, and it must not block. It runs under
	// no lock of the supervisor. One that panics or ends its goroutine counts as 0.5. Nil:
	// math/rand/v2.
	Rand func() float64
}

func (s Spec) resolved() (Spec, error) {
	switch {
	case s.Name == "":
		return s, errors.New("supervisor: a supervisor has no name")
	case s.Strategy > RestForOne:
		return s, fmt.Errorf("supervisor %q: unknown %v", s.Name, s.Strategy)
	case s.AutoShutdown > AllSignificant:
		return s, fmt.Errorf("supervisor %q: unknown AutoShutdown(%d)", s.Name, s.AutoShutdown)
	case s.MaxRestarts < NoRestarts:
		return s, fmt.Errorf("supervisor %q: MaxRestarts is %d", s.Name, s.MaxRestarts)
	case s.Within < 0:
		return s, fmt.Errorf("supervisor %q: Within is %v", s.Name, s.Within)
	}
	if s.MaxRestarts == 0 {
		s.MaxRestarts = DefaultMaxRestarts
	}
	if s.Within == 0 {
		s.Within = DefaultWithin
	}
	s.Backoff = s.Backoff.or(defaultBackoff)
	if err := s.Backoff.check(); err != nil {
		return s, fmt.Errorf("supervisor %q: %w", s.Name, err)
	}
	return s, nil
}
