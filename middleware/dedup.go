package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// ErrDuplicate is why [Dedup] discarded an event: one with the same ID, or the same key, was
// handled before.
var ErrDuplicate = errors.New("duplicate event")

const (
	defaultDedupSize = 10_000
	defaultDedupWait = 100 * time.Millisecond
)

// DedupConfig configures [Dedup]. The zero value remembers the last 10,000 message IDs, however
// old.
type DedupConfig struct {
	// Size is how many handled events are remembered; the oldest is forgotten first. 0 or negative
	// is the default, 10,000. Memory is taken as it is needed: about 200 bytes an event, and its ID
	// or key.
	Size int

	// TTL is how long a handled event is remembered. 0, the default, or negative: until Size others
	// came after it.
	TTL time.Duration

	// Key returns what repetitions have in common, for example the number of an order. An event
	// with an empty key passes unchecked. nil, the default, is the [bus.MessageID], which for a
	// foreign event is its ID and source; events without one pass. A [bus.Delivery.Malformed]
	// delivery passes, whatever its key, since it is to become a dead letter. Key is called on the
	// lane's goroutines, from several at once, and must not panic. The string is kept: clone it if
	// it is part of something large.
	Key func(d *bus.Delivery) string

	// Wait is how long a repetition is snoozed before it asks again whether the first was handled.
	// 0 or negative is the default, 100 ms.
	Wait time.Duration
}

// Dedup passes each event on once: a repetition of one that was handled is [bus.Discard] of
// ErrDuplicate. With it, at-least-once delivery, or a publisher that tries again under one
// [bus.ID], takes effect once, as far as its memory reaches. The memory is bounded by Size and TTL,
// and each subscription has its own, made when the subscription is.
//
// An event is remembered when everything further in returned nil, so nothing further out should
// turn that into an error. While the first is still being handled, on another lane, or waits for an
// attempt that [bus.RetryAfter] granted further in, a repetition is a [bus.Snooze]: it is discarded
// if the first succeeds, and handled if the first is given up. If the first does not come back for
// its attempt when that is due, a repetition takes its place. Two with one key never run at once.
func Dedup(cfg DedupConfig) bus.Middleware {
	if cfg.Size <= 0 {
		cfg.Size = defaultDedupSize
	}
	if cfg.Wait <= 0 {
		cfg.Wait = defaultDedupWait
	}
	return func(next bus.Handler) bus.Handler {
		w := newDedupTable(cfg.Size, cfg.TTL, cfg.Wait)
		return func(ctx context.Context, d *bus.Delivery) (err error) {
			if d.Malformed() != nil {
				return next(ctx, d)
			}
			var key dedupKey
			if cfg.Key != nil {
				key.text = cfg.Key(d)
			} else {
				key.id = d.ID()
			}
			if key == (dedupKey{}) {
				return next(ctx, d)
			}
			attempt := d.Attempt()
			if err := w.begin(key, attempt, time.Now()); err != nil {
				return err
			}
			err = errUnwound
			defer func() { w.finish(key, attempt, err, time.Now()) }()
			return next(ctx, d)
		}
	}
}

// errUnwound stands for the result of a handler that did not return, because a panic or
// runtime.Goexit unwinds the stack.
var errUnwound = errors.New("handler did not return")
