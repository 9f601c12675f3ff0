package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/inspect"
)

// ErrTimeout is in the error of an attempt that exceeded its [Timeout], together with
// context.DeadlineExceeded.
var ErrTimeout = errors.New("handler timed out")

// Timeout gives each attempt d to finish. It is cooperative: at the deadline the handler's context
// ends, with a cause that is ErrTimeout, and Timeout goes on waiting for the handler to return;
// only the handler knows how to stop. d of 0 or less is no deadline.
//
// When the handler then returns the context's error, or an error that wraps it, Timeout's error
// says which subscription timed out after how long; errors.Is finds ErrTimeout and
// context.DeadlineExceeded in it. Any other result is the handler's own, and counts: it may have
// finished late, or noticed another failure. The error of a deadline further out, or one that the
// handler set itself, is no timeout either.
//
// A handler that ignores its context runs on. If it returns a tenth of d, and 100 ms, or more after
// the deadline, that is reported: in Timeout's error, with how long it took; in the text of the
// handler's own error, which is wrapped and no ErrTimeout; and if it returns nil, as a warning in
// the log of the bus, one for a batch. While it runs, [bus.Config].SlowHandler reports it.
//
// A batch has one deadline for all its events, which begins with the first of them that enters it:
// either all of them have timed out, or none.
//
// It costs a context and a timer for each attempt, or for each batch.
func Timeout(d time.Duration) bus.Middleware {
	if d <= 0 {
		return func(next bus.Handler) bus.Handler { return next }
	}
	cause := &timeoutCause{after: d}
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, del *bus.Delivery) error {
			batch := inspect.BatchOf(del)
			if begun := cause.begunFor(ctx, batch); begun != nil {
				return cause.explain(begun, del, next(ctx, del), false)
			}
			ctx, cancel := context.WithTimeoutCause(ctx, d, cause)
			defer cancel()
			if batch != nil {
				ctx = &batchDeadline{Context: ctx, cause: cause, batch: batch}
			}
			return cause.explain(ctx, del, next(ctx, del), true)
		}
	}
}

// batchDeadline is the context that the first event of a batch gave the others, whose chains of
// middleware run inside its own.
type batchDeadline struct {
	context.Context
	cause *timeoutCause
	batch any
}

func (b *batchDeadline) Value(key any) any {
	if key == any(b.cause) {
		return b
	}
	return b.Context.Value(key)
}

// begunFor is the context of the deadline that c has begun for the batch, or nil. Several deadlines
// at one moment would not do: their timers fire one after another, and a handler that returns in
// between has timed out for some events only.
func (c *timeoutCause) begunFor(ctx context.Context, batch any) context.Context {
	if batch == nil {
		return nil
	}
	begun, ok := ctx.Value(c).(*batchDeadline)
	if _, bounded := ctx.Deadline(); !ok || !bounded || begun.batch != batch {
		return nil // a middleware in between may have cut ctx off from it
	}
	return begun
}

// timeoutCause is the cause of one Timeout's deadlines: by its address they are told from others.
type timeoutCause struct{ after time.Duration }

func (c *timeoutCause) Error() string { return fmt.Sprintf("%v after %v", ErrTimeout, c.after) }

func (c *timeoutCause) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// explain says what timed out, if err is because of that; otherwise that the handler ignored the
// deadline, if it did. first reports whether d began it.
func (c *timeoutCause) explain(ctx context.Context, d *bus.Delivery, err error, first bool) error {
	if ctx.Err() == nil {
		return err
	}
	ours, ok := context.Cause(ctx).(*timeoutCause) //nolint:errorlint // the cause itself, not one that wraps it
	if !ok || ours != c {
		return err
	}
	late := c.late(ctx)
	switch {
	case err == nil:
		if late > 0 && first {
			inspect.AcknowledgedLate(d, c.after, late)
		}
		return nil
	case !errguard.Is(err, context.DeadlineExceeded):
		if late == 0 {
			return err
		}
		return fmt.Errorf("%s/%s: %w (the handler ignored its timeout of %v for %v)", d.Topic(), d.Subscription(), errguard.Safe(err), c.after, late)
	}
	ranOn := ""
	if late > 0 {
		ranOn = fmt.Sprintf(", and the handler ignored that for %v", late)
	}
	if errguard.Is(err, error(c)) { // the handler returned the cause
		return fmt.Errorf("%s/%s: %w%s", d.Topic(), d.Subscription(), errguard.Safe(err), ranOn)
	}
	return fmt.Errorf("%s/%s: %w%s: %w", d.Topic(), d.Subscription(), c, ranOn, errguard.Safe(err))
}

// promptEnough is how late a handler that obeys may come back on a busy machine.
const promptEnough = 100 * time.Millisecond

// late is how long a handler ignored the deadline of ctx; 0 if it did not.
func (c *timeoutCause) late(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	if over := time.Since(deadline); over >= max(c.after/10, promptEnough) {
		return over.Round(time.Millisecond)
	}
	return 0
}
