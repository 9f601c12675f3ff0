package middleware

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/logguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

const (
	defaultLogPeriod = 10 * time.Second
	defaultMaxErrors = 100
)

// LoggingConfig configures [Logging]. The zero value logs failures.
type LoggingConfig struct {
	// Period is how long repetitions of a failure are only counted before a summary tells their
	// number. 0 or negative is the default, 10 s.
	Period time.Duration

	// MaxErrors is how many different failures of one Period are told apart; those beyond it share
	// one summary. 0 or negative is the default, 100.
	MaxErrors int

	// Successes logs each handled event too, at debug level. Default false.
	Successes bool
}

// Logging logs failed attempts. A failure that repeats itself does not flood the log. The first of
// a kind is logged in full, as "handler failed": topic, subscription, message ID, key, attempt,
// error, what comes next, and for a panic the user's frames of its stack. Those that follow within
// Period are counted. At its end one "handler failed again" tells how many there were, and names
// the last. The next failure begins a new period. A discard is "event discarded", a snooze "event
// snoozed". The end of the subscription ends a period early, so that no count is lost. docs/logs.md
// lists the fields.
//
// Failures are of one kind when subscription, verdict and the text of the cause are the same; of a
// long text the first 256 bytes count.
//
// The verdict decides the level: a retry is a warning, a dead letter an error, a discard info, a
// snooze debug. A plain error is an error too: nothing further in decided, and middleware further
// out may still do so. A nil logger logs nothing.
//
// Each subscription counts on its own. Between failures nothing of Logging runs; a timer fires at
// the end of a period that had any.
func Logging(logger *zap.Logger, cfg LoggingConfig) bus.Middleware {
	if logger == nil {
		return func(next bus.Handler) bus.Handler { return next }
	}
	if cfg.Period <= 0 {
		cfg.Period = defaultLogPeriod
	}
	if cfg.MaxErrors <= 0 {
		cfg.MaxErrors = defaultMaxErrors
	}
	logger = logguard.Wrap(logger) // a summary comes on a timer's goroutine, which a panic would end the process on
	successes := cfg.Successes && logger.Core().Enabled(zap.DebugLevel)
	return func(next bus.Handler) bus.Handler {
		f := newFailureLog(logger, cfg.Period, cfg.MaxErrors)
		return func(ctx context.Context, d *bus.Delivery) error {
			err := next(ctx, d)
			switch {
			case err != nil:
				f.failed(ctx, d, err)
			case successes:
				logger.Debug("event handled", describe(d)...)
			}
			return err
		}
	}
}

// failureClass is what an error means for the log.
type failureClass struct {
	level zapcore.Level
	what  string        // the message
	next  string        // what comes of the event
	after time.Duration // when, if it is attempted again
	cause string        // what went wrong, the same text whenever it goes wrong again
}

// longestCause bounds the text kept of each failure, in bytes.
const longestCause = 256

func classify(err error) failureClass {
	j := failureClass{level: zap.ErrorLevel, what: "handler failed", next: "undecided"}
	cause := err
	if v, ok := bus.VerdictOf(err); ok {
		cause = v.Err // the verdict's own text has a delay in it, which differs
		j.next = v.Action.String()
		switch v.Action {
		case bus.ActionRetry:
			j.level, j.after = zap.WarnLevel, v.After
		case bus.ActionSnooze:
			j.level, j.what, j.after = zap.DebugLevel, "event snoozed", v.After
		case bus.ActionDiscard:
			j.level, j.what = zap.InfoLevel, "event discarded"
		case bus.ActionDeadLetter:
		}
	}
	if cause != nil {
		j.cause = errguard.Text(cause)
	}
	if len(j.cause) > longestCause {
		j.cause = strings.Clone(j.cause[:longestCause])
	}
	return j
}

// describe returns the fields that identify the event and the attempt.
func describe(d *bus.Delivery) []zap.Field {
	fields := make([]zap.Field, 0, 9)
	fields = append(fields, zap.String("topic", d.Topic()), zap.String("subscription", d.Subscription()))
	if id := d.ID(); !id.IsZero() {
		fields = append(fields, zap.Stringer("id", id))
	}
	if key := keyOf(d); key != "" {
		fields = append(fields, zap.String("key", key))
	}
	return append(fields, zap.Int("attempt", d.Attempt()))
}

// keyOf is d's key. It calls the topic's Key function, whose panic must not replace the failure
// that is being logged.
func keyOf(d *bus.Delivery) (key string) {
	defer func() {
		if r := recover(); r != nil {
			key = "!panic: " + errguard.Format(r)
		}
	}()
	return d.Key()
}

// describeFailure returns the fields of a failure that is logged in full.
func describeFailure(d *bus.Delivery, err error, j failureClass) []zap.Field {
	fields := append(describe(d), zap.String("next", j.next))
	if j.after > 0 {
		fields = append(fields, zap.Duration("after", j.after))
	}
	fields = append(fields, zap.Error(errguard.Safe(err)))
	if pe, ok := errguard.As[*bus.PanicError](err); ok {
		fields = append(fields, zap.String("stack", usercode.UserFrames(pe.Stack)))
	}
	return fields
}
