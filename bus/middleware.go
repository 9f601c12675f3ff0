package bus

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/shardbus/shardbus/internal/errguard"
)

// Handler runs one attempt at a delivery. nil acknowledges it, an error fails the attempt, a
// [*Verdict] decides what comes next.
//
// The context is the subscription's: it ends when the bus closes abruptly or runs out of time to
// drain. d is valid until Handler returns and must not be used from another goroutine.
type Handler func(ctx context.Context, d *Delivery) error

// Middleware wraps a handler. It is called once for each subscription, when that is made, on the
// goroutine of Subscribe. The Handler it returns is called from all lanes of the subscription at
// once. If it returns nil, Subscribe fails with [ErrNilHandler].
//
// A middleware must not sleep: a delay is a verdict ([RetryAfter], [Snooze]), and the engine defers
// the key while others go on.
type Middleware func(next Handler) Handler

// chain composes the middleware around h, the first one outermost. The first ofBus of them are
// Config.Use, and the others Use, as an error says of one that returned no handler.
func chain(h Handler, middleware []Middleware, ofBus int) (Handler, error) {
	for i := len(middleware) - 1; i >= 0; i-- {
		if h = middleware[i](h); h != nil {
			continue
		}
		if i < ofBus {
			return nil, fmt.Errorf("%w: the middleware at index %d of Config.Use returned none", ErrNilHandler, i)
		}
		return nil, fmt.Errorf("%w: the middleware at index %d of Use returned none", ErrNilHandler, i-ofBus)
	}
	return h, nil
}

// guard makes a panic of h an error of h, and its errors safe to be asked, so that the middleware
// around it (Retry, Logging) sees a failed attempt like any other.
func guard(h Handler) Handler {
	return func(ctx context.Context, d *Delivery) (err error) {
		returned := false
		defer rescue(&returned, &err)
		if err = h(ctx, d); err != nil {
			err = errguard.Safe(err)
		}
		returned = true
		return err
	}
}

// rescue is deferred: where the function has not returned by itself, because it panicked, *err
// becomes that panic.
func rescue(returned *bool, err *error) {
	if *returned { // asking recover costs more than a look at this
		return
	}
	if r := recover(); r != nil {
		*err = &PanicError{Value: r, Stack: debug.Stack()}
	}
}

// eventHandler is the Handler that calls h with the event. Where there is middleware around it, it
// is guarded: guard in one call with the rest, of which each event makes one.
func eventHandler[T any](h func(ctx context.Context, event T) error, guarded bool) Handler {
	if !guarded {
		return func(ctx context.Context, d *Delivery) error {
			if d.encoded {
				if err := d.Decode(nil); err != nil {
					return err
				}
			}
			return h(ctx, *d.value.(*T))
		}
	}
	return func(ctx context.Context, d *Delivery) (err error) {
		returned := false
		defer rescue(&returned, &err)
		if d.encoded {
			err = d.Decode(nil)
		}
		if err == nil {
			err = h(ctx, *d.value.(*T))
		}
		if err != nil {
			err = errguard.Safe(err)
		}
		returned = true
		return err
	}
}
