package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
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
// It costs a context and a timer for each attempt.
func Timeout(d time.Duration) bus.Middleware {
	if d <= 0 {
		return func(next bus.Handler) bus.Handler { return next }
	}
	cause := &timeoutCause{after: d}
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, del *bus.Delivery) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, cause)
			defer cancel()
			err := next(ctx, del)
			if err == nil || ctx.Err() == nil {
				return err
			}
			return cause.explain(ctx, del, err)
		}
	}
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
	ours, ok := context.Cause(ctx).(*timeoutCause) //nolint:errorlint // the cause itself, not one that wraps it
	switch {
	case !ok || ours != c || !errguard.Is(err, context.DeadlineExceeded):
		return err
	case errguard.Is(err, error(c)): // the handler returned the cause
		return fmt.Errorf("%s/%s: %w", d.Topic(), d.Subscription(), errguard.Safe(err))
	}
	return fmt.Errorf("%s/%s: %w: %w", d.Topic(), d.Subscription(), c, errguard.Safe(err))
}
