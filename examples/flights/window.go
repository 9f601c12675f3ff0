package main

import (
	"context"

	"github.com/shardbus/shardbus/bus"
)

// inFlight is how many flights may be published through Redis and not counted yet. A remote
// publisher feels no back-pressure from mailboxes; this is its own.
const inFlight = 512

// window paces a publisher by the events that have been handled. A nil window lets everything pass:
// in one process the mailboxes hold the publisher up.
type window chan struct{}

// acquire waits for room for one more event.
func (w window) acquire(ctx context.Context) error {
	if w == nil {
		return nil
	}
	select {
	case w <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// middleware makes room when an event of this bus is settled. Flights of another run on the same
// servers are not this run's to count.
func (w window) middleware(b *bus.Bus) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if w == nil {
				return next(ctx, d)
			}
			if d.Publisher() != b.ID() {
				return bus.Discard(errOtherRun)
			}
			defer func() { <-w }()
			return next(ctx, d)
		}
	}
}

// drained waits until every event that was published has been settled.
func (w window) drained(ctx context.Context) error {
	for range cap(w) {
		if err := w.acquire(ctx); err != nil {
			return err
		}
	}
	return nil
}
