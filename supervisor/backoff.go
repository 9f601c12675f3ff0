package supervisor

import (
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff is how long a child waits before it is started again. The k-th failure in a row waits for
// d = min(Max, Min·2^(k-1)), less a random part of up to Jitter·d, so that children that failed
// together do not come back together.
type Backoff struct {
	// Min is the first delay, before jitter. Zero: 100 ms. Negative: every restart is immediate.
	Min time.Duration
	// Max bounds the delay. Zero: 30 s, or Min if that is longer.
	Max time.Duration
	// Jitter is the part of the delay, from 0 to 1, that is random. Zero: 0.5. Negative: none.
	Jitter float64
	// ResetAfter is how long an incarnation must have been up (ready, with AwaitReady) for its
	// failure to count as the first again. Zero: 1 minute.
	ResetAfter time.Duration
}

var defaultBackoff = Backoff{Min: 100 * time.Millisecond, Jitter: 0.5, ResetAfter: time.Minute}

const defaultMaxDelay = 30 * time.Second

// or fills the zero fields of b from parent.
func (b Backoff) or(parent Backoff) Backoff {
	if b.Min == 0 {
		b.Min = parent.Min
	}
	if b.Max == 0 {
		b.Max = parent.Max
	}
	if b.Jitter == 0 {
		b.Jitter = parent.Jitter
	}
	if b.ResetAfter == 0 {
		b.ResetAfter = parent.ResetAfter
	}
	return b
}

func (b Backoff) check() error {
	switch {
	case b.Max < 0:
		return fmt.Errorf("the Max of Backoff is %v", b.Max)
	case b.Max != 0 && b.Min > b.Max:
		return fmt.Errorf("the Min of Backoff, %v, is above its Max, %v", b.Min, b.Max)
	case b.Jitter > 1 || math.IsNaN(b.Jitter):
		return fmt.Errorf("the Jitter of Backoff is %v", b.Jitter)
	case b.ResetAfter < 0:
		return fmt.Errorf("the ResetAfter of Backoff is %v", b.ResetAfter)
	}
	return nil
}

// ceiling is Max with its default.
func (b Backoff) ceiling() time.Duration {
	if b.Max != 0 {
		return b.Max
	}
	return max(defaultMaxDelay, b.Min)
}

// delays is the back-off of one child between two stretches of health. The growth is cenkalti's;
// the jitter is ours because theirs draws from the global source, which would make a step depend on
// more than its arguments.
type delays struct{ growth *backoff.ExponentialBackOff }

// next returns the delay before the next restart; roll, in [0, 1), is the luck.
func (d *delays) next(b Backoff, roll float64) time.Duration {
	if b.Min < 0 {
		return 0
	}
	if d.growth == nil {
		d.growth = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(b.Min),
			backoff.WithMaxInterval(b.ceiling()),
			backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0),
			backoff.WithMaxElapsedTime(0),
			backoff.WithClockProvider(stopped{}),
		)
	}
	delay := d.growth.NextBackOff()
	if b.Jitter > 0 {
		delay -= time.Duration(roll * b.Jitter * float64(delay))
	}
	return delay
}

// reset forgets the failures so far. The memory goes too: a healthy child has no back-off.
func (d *delays) reset() { d.growth = nil }

// stopped is a clock that stands still. The library reads its clock for a limit on elapsed time
// that is not in use here.
type stopped struct{}

func (stopped) Now() time.Time { return time.Time{} }
