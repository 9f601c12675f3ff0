package middleware

import (
	"context"
	"runtime/debug"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
)

// Codec decodes the event at this place of the chain, with c, or with the
// topic's codec where c is nil. Middleware outside it sees the bytes an event
// came as ([bus.Delivery.Encoded], [bus.Delivery.Payload]), what is inside sees
// the value ([bus.Value]). Without a Codec the engine decodes just before the
// handler. An event handed over in-process was never encoded and passes
// untouched, as does one that was decoded further out.
//
// Bytes that c cannot decode are a [bus.DeadLetter] verdict: another attempt
// would not help. So is a panic of c, or of an unmarshalling method of the
// event that it calls; its cause is a *[bus.PanicError].
func Codec(c codec.Codec) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if d.Encoded() {
				if err := decode(d, c); err != nil {
					return err
				}
			}
			return next(ctx, d)
		}
	}
}

// decode makes a panic of the codec an error: it stands outside the handler, so
// nobody else in the chain would.
func decode(d *bus.Delivery, c codec.Codec) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = bus.DeadLetter(&bus.PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	return d.Decode(c)
}
