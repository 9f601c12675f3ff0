package bustest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport/memory"
)

// Events make the round trip: what JSON drops, a handler does not see.
func TestEventsAreEncoded(t *testing.T) {
	type secret struct {
		Shown  string
		Hidden string `json:"-"`
	}
	b := bustest.New(t)
	cfg := bus.TopicConfig[secret]{Name: "secrets"}
	topic := topicOf(t, b, cfg)
	got := make(chan secret, 1)
	must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "s", func(_ context.Context, s secret) error { got <- s; return nil }))
	if err := topic.Publish(t.Context(), secret{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != (secret{Shown: "a"}) {
		t.Errorf("%+v", s)
	}
	// Looked for as it was published.
	bustest.RequirePublishedOnce(t, b, cfg, bustest.Value(secret{"a", "b"}))
}

// In a bubble, retries cost no time, and waits end at the very moment.
func TestRetriesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		attempts := 0
		sub := must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "s", func(context.Context, order) error {
			if attempts++; attempts < 4 {
				return bus.RetryAfter(10*time.Minute, errors.New("not yet"))
			}
			return nil
		}))
		start := time.Now()
		publish(t, b, "a")
		bustest.WaitHandled(t, sub, 1)
		if d := time.Since(start); d != 30*time.Minute {
			t.Errorf("three retries took %v", d)
		}
		if m := bustest.RequireHandled(t, b, orders, "s"); m.Attempt != 4 {
			t.Errorf("%+v", m)
		}
	})
}

func TestBusesShareABroker(t *testing.T) {
	a := bustest.New(t)
	b := bustest.New(t, bustest.SharedWith(a))
	sub := billing(t, b)
	publish(t, a, "1")
	bustest.WaitHandled(t, sub, 1)
	bustest.RequirePublishedOnce(t, a, orders)
	bustest.RequireNotPublished(t, b, orders)
	bustest.RequirePublishedOnce(t, b, invoices)
	if apart := bustest.New(t); apart.ID() == a.ID() {
		t.Error("two buses have one ID")
	} else {
		bustest.RequireNotPublished(t, apart, orders)
	}
}

func TestNewTakesAConfig(t *testing.T) {
	calls := 0
	b := bustest.New(t, bustest.Config(bus.Config{Use: []bus.Middleware{func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error { calls++; return next(ctx, d) }
	}}}))
	sub := billing(t, b)
	publish(t, b, "1")
	bustest.WaitHandled(t, sub, 1)
	if calls != 1 {
		t.Errorf("the middleware was called %d times", calls)
	}
}

func TestNewRefuses(t *testing.T) {
	for want, opt := range map[string]bustest.Option{
		"option 0 of New is nil":    nil,
		"bustest brings its own":    bustest.Config(bus.Config{Transport: memory.NewBroker().Connect()}),
		"it must not be negative":   bustest.Config(bus.Config{InboxBytes: -1}),
		"Grace is -1ns, it must no": bustest.Config(bus.Config{Grace: -1}),
	} {
		requireContains(t, failure(t, func(t testing.TB) { bustest.New(t, opt) }), want)
	}
}

func TestSubscriptionsAreFoundByName(t *testing.T) {
	b := bustest.New(t)
	sub := billing(t, b)
	if got := b.Subscription("orders", "billing"); got != sub {
		t.Errorf("%v", got)
	}
	if err := sub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := billing(t, b)
	if got := b.Subscription("orders", "billing"); got != second {
		t.Error("the older of two was returned")
	}
	if got := b.Subscriptions(); len(got) != 2 || got[0] != sub {
		t.Errorf("%v", got)
	}
	got := failure(t, func(t testing.TB) {
		other := bustest.New(t)
		billing(t, other)
		other.Subscription("orders", "shipping")
	})
	requireText(t, got, `bustest: nobody subscribed to orders as "shipping"; subscriptions: orders/billing`)
}
