package middleware

import (
	"context"
	"runtime/debug"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
)

// Codec decodes the event at this place of the chain, with c, or with the topic's codec if c is
// nil. Middleware outside it sees the bytes of the event ([bus.Delivery.Encoded],
// [bus.Delivery.Payload]); middleware inside it sees the value ([bus.Value]). Without a Codec the
// engine decodes just before the handler. An event that was delivered in process was never encoded
// and passes untouched, as does one that was decoded further out.
//
// Bytes that c cannot decode are a [bus.DeadLetter] verdict, since another attempt would not help.
// So is a panic of c, or of an unmarshalling method of the event that it calls; its cause is a
// *[bus.PanicError].
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

// decode makes a panic of the codec an error. It runs outside the handler, so nothing else in the
// chain would.
func decode(d *bus.Delivery, c codec.Codec) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = bus.DeadLetter(&bus.PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	return d.Decode(c)
}
