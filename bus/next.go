package bus

import (
	"context"
	"strconv"
	"sync/atomic"
)

// nextCount tells the subscriptions of Next from each other.
var nextCount atomic.Uint64

// Next waits for one event of the topic and is gone: it returns the first that is published from
// now on for which match is true; nil takes any. Only this call has a subscription for it, which no
// Group shares, and which ends before Next returns. match is called as a handler is, on a goroutine
// of the bus; when it panics, the panic is in the error.
//
// An event that is published before Next is live is missed. [Topic.NextAfter] calls what brings the
// event about once that can't happen.
//
// Errors: those of Subscribe, ctx's, and ErrClosed when the bus ends first.
func (t *Topic[T]) Next(ctx context.Context, match func(m Message[T]) bool) (Message[T], error) {
	return t.NextAfter(ctx, match, nil)
}

// NextAfter is Next for an event that do brings about: do is called, on the caller's goroutine, once
// no event can be missed any more. Its error ends the wait and is returned as it is. do must not
// wait for the event: ctx bounds both together.
func (t *Topic[T]) NextAfter(ctx context.Context, match func(m Message[T]) bool, do func(ctx context.Context) error) (Message[T], error) {
	found := make(chan Message[T], 1)
	var over atomic.Bool
	name := "next." + strconv.FormatUint(nextCount.Add(1), 10)
	sub, err := t.SubscribeMessage(ctx, name, func(_ context.Context, m Message[T]) error {
		if !over.Load() && (match == nil || match(m)) && over.CompareAndSwap(false, true) {
			found <- m
		}
		return nil
	}, PanicBudget(0, defaultWithin))
	if err != nil {
		return Message[T]{}, err
	}
	defer sub.Stop()
	if do != nil {
		if err := do(ctx); err != nil {
			return Message[T]{}, err
		}
	}
	fail := func(err error) (Message[T], error) {
		return Message[T]{}, &Error{Op: "wait for the next event", Topic: t.info.name, Err: err}
	}
	select {
	case m := <-found:
		return m, nil
	case <-ctx.Done():
		return fail(causeOf(ctx))
	case <-sub.Done():
	}
	select {
	case m := <-found:
		return m, nil
	default:
	}
	if err := sub.Err(); err != nil {
		return Message[T]{}, err
	}
	return fail(ErrClosed)
}
