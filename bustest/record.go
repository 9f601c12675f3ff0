package bustest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
)

// attempt is one call of a subscription's middleware and handler.
type attempt struct {
	n     uint64        // of all attempts, by their beginnings
	d     *bus.Delivery // a copy of its own
	err   error
	began time.Time
	took  time.Duration
}

// record is the middleware outside all others: it keeps every attempt.
func (b *Bus) record(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		n, began := b.begun.Add(1), time.Now()
		defer b.local.attempt(d)()
		err := errguard.Safe(b.labelled(ctx, d, next))
		a := attempt{n: n, d: d.Clone(), err: err, began: began, took: time.Since(began)}
		b.mu.Lock()
		b.mu.attempts = append(b.mu.attempts, a)
		b.mu.Unlock()
		b.mode.notify()
		return err
	}
}

// attemptsAt returns the attempts of the subscriptions of that name, of any with
// an empty one, in the order of their beginnings: those of a batch end the other way
// round.
func (b *Bus) attemptsAt(topic, subscription string) []attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []attempt
	for _, a := range b.mu.attempts {
		if a.d.Topic() == topic && (subscription == "" || a.d.Subscription() == subscription) {
			a.d = a.d.Clone() // whoever decodes it has one of his own
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b attempt) int { return cmp.Compare(a.n, b.n) })
	return found
}
