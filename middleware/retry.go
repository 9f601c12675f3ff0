package middleware

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
)

const (
	defaultMaxAttempts  = 5
	defaultInitialDelay = 100 * time.Millisecond
	defaultMaxDelay     = 30 * time.Second
	defaultMultiplier   = 2
	defaultJitter       = 0.5

	// longestDelay keeps a delay with its jitter far from overflowing.
	longestDelay = 365 * 24 * time.Hour
)

// RetryConfig configures [Retry]. The zero value is five attempts over about 1.5 seconds.
type RetryConfig struct {
	// MaxAttempts is how many attempts an event gets, the first included. 0 is the default, 5; 1 is
	// no retry; negative is no bound.
	MaxAttempts int

	// InitialDelay is the time between the first attempt and the second. 0 or negative is the
	// default, 100 ms. No delay is shorter than 1 ms, jitter included.
	InitialDelay time.Duration

	// MaxDelay bounds the delay, before jitter. 0 or negative is the default, 30 s; what is shorter
	// than InitialDelay counts as InitialDelay. Both are at most 365 days.
	MaxDelay time.Duration

	// Multiplier is the factor from each delay to the next. 1 is a constant delay; 0, and anything
	// else below 1, is the default, 2.
	Multiplier float64

	// Jitter spreads delays, so that events that failed together are not tried again together: each
	// delay is chosen evenly from delay × (1 ± Jitter). From 0 to 1; more counts as 1. 0 is the
	// default, 0.5; negative is no jitter.
	Jitter float64

	// If reports which errors are worth another attempt; with other errors Retry gives the event up
	// at once. nil, the default, means all of them, a timeout and a panic included. It is called on
	// the lane's goroutines, from several at once, and must not panic.
	If func(error) bool

	// OnGiveUp is called for each event that Retry gives up; nil, the default, is none. d is valid
	// until it returns. It is called on the lane's goroutines, from several at once, and must not
	// panic.
	OnGiveUp func(d *bus.Delivery, err *GiveUpError)
}

// GiveUpError says why Retry gave an event up: it is the Err of the dead letter.
type GiveUpError struct {
	Attempts int   // how many there were
	Err      error // of the last one
}

func (e *GiveUpError) Error() string {
	if e.Attempts == 1 {
		return "gave up after 1 attempt: " + errguard.Text(e.Err)
	}
	return fmt.Sprintf("gave up after %d attempts: %s", e.Attempts, errguard.Text(e.Err))
}

var _ = errguard.Own[*GiveUpError]()

func (e *GiveUpError) Unwrap() error { return e.Err }

// Retry attempts a failed event again, after delays that grow exponentially and are jittered: the
// delay after attempt n is InitialDelay × Multiplier^(n-1), at most MaxDelay. It does not wait: it
// returns [bus.RetryAfter], and meanwhile later events of the same key wait while others go on.
// After the last attempt, or when If says no, it returns [bus.DeadLetter] with a *[GiveUpError]. A
// panic of the handler is a failed attempt like any other.
//
// A verdict from further in passes untouched. So a handler may choose its own delay, or give the
// event up with [bus.DeadLetter] or [bus.Discard]; MaxAttempts does not bound the attempts that it
// grants itself. An attempt that fails because the subscription is being closed passes too: the
// engine counts the event as abandoned.
//
// Retry keeps no state: it reads the attempt from the delivery.
func Retry(cfg RetryConfig) bus.Middleware {
	r := cfg.normal()
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			err := next(ctx, d)
			if err == nil {
				return nil
			}
			return r.decide(ctx, d, err)
		}
	}
}

// normal is cfg with its defaults and bounds applied.
func (cfg RetryConfig) normal() *RetryConfig {
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = defaultMaxAttempts
	}
	if cfg.InitialDelay <= 0 {
		cfg.InitialDelay = defaultInitialDelay
	}
	if cfg.MaxDelay <= 0 {
		cfg.MaxDelay = defaultMaxDelay
	}
	cfg.InitialDelay = min(cfg.InitialDelay, longestDelay)
	cfg.MaxDelay = min(max(cfg.MaxDelay, cfg.InitialDelay), longestDelay)
	if !(cfg.Multiplier >= 1) { // NaN too
		cfg.Multiplier = defaultMultiplier
	}
	switch {
	case cfg.Jitter == 0 || math.IsNaN(cfg.Jitter):
		cfg.Jitter = defaultJitter
	case cfg.Jitter < 0:
		cfg.Jitter = 0
	}
	cfg.Jitter = min(cfg.Jitter, 1)
	return &cfg
}

// decide makes a verdict of the error of a failed attempt.
func (cfg *RetryConfig) decide(ctx context.Context, d *bus.Delivery, err error) error {
	if _, decided := bus.VerdictOf(err); decided || ended(ctx) {
		return err
	}
	err = errguard.Safe(err) // If and OnGiveUp ask it, and it may be a middleware's
	attempt := d.Attempt()
	if (cfg.MaxAttempts < 0 || attempt < cfg.MaxAttempts) && (cfg.If == nil || cfg.If(err)) {
		return bus.RetryAfter(cfg.delay(attempt), err)
	}
	gaveUp := &GiveUpError{Attempts: attempt, Err: err}
	if cfg.OnGiveUp != nil {
		cfg.OnGiveUp(d, gaveUp)
	}
	return bus.DeadLetter(gaveUp)
}

// ended reports whether the subscription that ctx belongs to ends abruptly.
func ended(ctx context.Context) bool {
	return ctx.Err() != nil && errguard.Is(context.Cause(ctx), bus.ErrClosed)
}

// delay is the time between the given attempt, counted from 1, and the next. It computes the
// back-off by a power and not step by step: an event may have thousands of attempts.
func (cfg *RetryConfig) delay(attempt int) time.Duration {
	interval := float64(cfg.InitialDelay) * math.Pow(cfg.Multiplier, float64(attempt-1))
	b := backoff.ExponentialBackOff{
		InitialInterval:     time.Duration(min(interval, float64(cfg.MaxDelay))),
		RandomizationFactor: cfg.Jitter,
		Multiplier:          cfg.Multiplier,
		MaxInterval:         cfg.MaxDelay,
		Stop:                backoff.Stop,
		Clock:               backoff.SystemClock,
	}
	b.Reset()
	return b.NextBackOff()
}
