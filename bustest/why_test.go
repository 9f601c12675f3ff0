package bustest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// A wait in vain says what the handlers' trouble is.
func TestWaitsSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		subscribed := func(t testing.TB, h func(context.Context, order) error) (*bustest.Bus, *bus.Subscription) {
			b := bustest.New(t, bustest.WaitTimeout(time.Minute), bustest.AllowGoroutines())
			sub := must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "s", h))
			publish(t, b, "a")
			return b, sub
		}
		refuse := func(context.Context, order) error {
			return bus.RetryAfter(45*time.Second, errors.New("the bank sleeps"))
		}
		why := `attempt 2 of key "a" failed last: `
		requireContains(t, failure(t, func(t testing.TB) {
			b, _ := subscribed(t, refuse)
			bustest.WaitIdle(t, b)
		}), "deferred 1", why, "the bank sleeps")
		requireContains(t, failure(t, func(t testing.TB) {
			_, sub := subscribed(t, refuse)
			bustest.WaitHandled(t, sub, 1)
		}), "has not handled 1 events", why, "the bank sleeps")
		requireContains(t, failure(t, func(t testing.TB) {
			b, _ := subscribed(t, func(context.Context, order) error { waitFor(let); return nil })
			bustest.WaitIdle(t, b)
		}), "running 1", "1 under the handler of orders/s, at", "bustest_test.waitFor", "finish_test.go:")
		close(let)
	})
}

// Who looks before the handlers are done is told so.
func TestLooksTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, look := range []func(t testing.TB, b *bustest.Bus){
			func(t testing.TB, b *bustest.Bus) { bustest.RequirePublished(t, b, invoices) },
			func(t testing.TB, b *bustest.Bus) { bustest.RequirePublishedOnce(t, b, invoices) },
		} {
			requireContains(t, failure(t, func(t testing.TB) {
				b := bustest.New(t)
				billing(t, b).Pause()
				publish(t, b, "a")
				look(t, b)
			}), "nothing published on invoices matches", "handlers were not done yet (WaitIdle and WaitPublished wait", "orders/billing: accepted 1")
		}
	})
}
