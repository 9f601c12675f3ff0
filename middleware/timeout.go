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

// ErrTimeout is in the error of an attempt that ran out of the time [Timeout]
// gave it, together with context.DeadlineExceeded.
var ErrTimeout = errors.New("handler timed out")

// Timeout gives each attempt d to finish. It is cooperative: at the deadline the
// handler's context ends, with a cause that is ErrTimeout, and Timeout goes on
// waiting for the handler to return; only the handler knows how to stop. d of 0
// or less is no deadline.
//
// When the handler then returns the context's error, or an error that wraps it,
// Timeout's says which subscription timed out after how long, and is ErrTimeout
// and context.DeadlineExceeded for errors.Is. Any other result is the
// handler's own: it may have finished late, or noticed another failure. The
// error of a deadline that stands further out, or that the handler set itself,
// is left as it is.
//
// A handler that ignores its context runs on. Timeout's error then says for how long it
// did, if that was a tenth of d, and 100 ms, or more. Nothing tells of it while it runs,
// or where it returns nil or an error of its own in the end.
//
// A batch has one deadline for all its events, which begins with the first of them that
// enters it: either all of them have timed out, or none.
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
				return cause.explain(begun, del, next(ctx, del))
			}
			ctx, cancel := context.WithTimeoutCause(ctx, d, cause)
			defer cancel()
			if batch != nil {
				ctx = &batchDeadline{Context: ctx, cause: cause, batch: batch}
			}
			return cause.explain(ctx, del, next(ctx, del))
		}
	}
}

// batchDeadline is the context that the first event of a batch gave the others, whose
// chains of middleware run inside its own.
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

// begunFor is the context of the deadline that c has begun for the batch, or nil.
// Several deadlines at one moment would not do: their timers fire one after another,
// and a handler that returns in between has timed out for some events only.
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

// timeoutCause is the cause of one Timeout's deadlines: by its address they are
// told from others.
type timeoutCause struct{ after time.Duration }

func (c *timeoutCause) Error() string { return fmt.Sprintf("%v after %v", ErrTimeout, c.after) }

func (c *timeoutCause) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// explain says what timed out, if err is because of that.
func (c *timeoutCause) explain(ctx context.Context, d *bus.Delivery, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	ours, ok := context.Cause(ctx).(*timeoutCause) //nolint:errorlint // the cause itself, not one that wraps it
	switch {
	case !ok || ours != c || !errguard.Is(err, context.DeadlineExceeded):
		return err
	case errguard.Is(err, error(c)): // the handler returned the cause
		return fmt.Errorf("%s/%s: %w%s", d.Topic(), d.Subscription(), errguard.Safe(err), c.ranOn(ctx))
	}
	return fmt.Errorf("%s/%s: %w%s: %w", d.Topic(), d.Subscription(), c, c.ranOn(ctx), errguard.Safe(err))
}

// promptEnough is how late a handler that obeys may come back on a busy machine.
const promptEnough = 100 * time.Millisecond

// ranOn says how long a handler ignored the deadline of ctx; "" if it did not.
func (c *timeoutCause) ranOn(ctx context.Context) string {
	deadline, _ := ctx.Deadline()
	if over := time.Since(deadline); over >= max(c.after/10, promptEnough) {
		return fmt.Sprintf(", and the handler ignored that for %v", over.Round(time.Millisecond))
	}
	return ""
}
