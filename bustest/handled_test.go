package bustest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

func TestHandledEventsAreFound(t *testing.T) {
	b := bustest.New(t, bustest.AllowDeadLetters())
	billing(t, b)
	must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "audit", func(context.Context, order) error { return nil }))
	publish(t, b, "a", "b")
	if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "free"}); err != nil {
		t.Fatal(err)
	}
	bustest.WaitIdle(t, b)
	if got := bustest.Handled(t, b, orders, "billing"); ids(got) != "a b" {
		t.Errorf("%+v", got)
	}
	if got := bustest.Handled(t, b, orders, "audit"); ids(got) != "a b free" {
		t.Errorf("%+v", got)
	}
	if got := bustest.Handled(t, b, orders, ""); len(got) != 5 {
		t.Errorf("%+v", got)
	}
	if got := bustest.Handled(t, b, orders, "", bustest.Key[order]("free")); ids(got) != "free" {
		t.Errorf("%+v", got)
	}
	bustest.RequireHandled(t, b, orders, "billing", bustest.Value(order{"b", 100}))
}

func TestRequireHandledSaysWhatWasHandledInstead(t *testing.T) {
	got := failure(t, func(t testing.TB) {
		b := bustest.New(t)
		billing(t, b)
		publish(t, b, "a")
		bustest.WaitIdle(t, b)
		bustest.RequireHandled(t, b, orders, "billing", bustest.Value(order{"a", 1}))
	})
	requireText(t, got, `
bustest: nothing handled by orders/billing matches
looked for value {ID:a Cents:1}
handled: 1
  0: key "a" {ID:a Cents:100}
the nearest is 0 (- looked for, + found):
      ID: "a"
    - Cents: 1
    + Cents: 100
ledger of orders/billing: accepted 1 = handled 1 + discarded 0 + dead-lettered 0 + dropped 0 + abandoned 0 + pending 0 (queued 0, running 0, deferred 0)`)
	got = failure(t, func(t testing.TB) {
		b := bustest.New(t)
		billing(t, b)
		bustest.RequireHandled(t, b, orders, "shipping")
	})
	requireText(t, got, `
bustest: nothing handled by orders/shipping matches
handled: 0
nobody subscribed; subscriptions: orders/billing`)
}

func TestWaitHandledGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := failure(t, func(t testing.TB) {
			b := bustest.New(t, bustest.WaitTimeout(time.Minute))
			bustest.WaitHandled(t, billing(t, b), 1)
		})
		requireText(t, got, "bustest: orders/billing has not handled 1 events after 1m0s: "+
			"accepted 0 = handled 0 + discarded 0 + dead-lettered 0 + dropped 0 + abandoned 0 + pending 0 (queued 0, running 0, deferred 0)")
		if d := time.Since(start); d != time.Minute {
			t.Errorf("after %v", d)
		}
		got = failure(t, func(t testing.TB) {
			b := bustest.New(t)
			sub := billing(t, b)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			bustest.WaitHandled(t, sub, 1)
		})
		requireContains(t, got, "orders/billing ended before it had handled 1 events: accepted 0")
	})
}

// A subscription of a bus that is none of ours will do.
func TestWaitHandledOnAnyBus(t *testing.T) {
	b := must[*bus.Bus](t)(bus.New(bus.Config{}))
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	topic := must[*bus.Topic[order]](t)(bus.NewTopic(b, orders))
	sub := must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "s", func(context.Context, order) error { return nil }))
	if err := topic.Publish(t.Context(), order{}); err != nil {
		t.Fatal(err)
	}
	bustest.WaitHandled(t, sub, 1)
}

// A lane that is never idle tells nobody; the wait looks by itself.
func TestWaitHandledOnABusyLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		sub := must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "slow", func(context.Context, order) error {
			time.Sleep(time.Second)
			return nil
		}))
		publish(t, b, strings.Fields("1 2 3 4 5 6 7 8 9 10")...)
		start := time.Now()
		bustest.WaitHandled(t, sub, 3)
		if d := time.Since(start); d < 3*time.Second || d > 3200*time.Millisecond {
			t.Errorf("after %v", d)
		}
	})
}

func TestWaitIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := bustest.New(t)
		b := bustest.New(t, bustest.SharedWith(a))
		// a → orders → b, which tries twice → invoices → a.
		tries := 0
		billing(t, b, bus.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if tries++; d.Attempt() < 3 {
					return bus.RetryAfter(time.Minute, errors.New("not yet"))
				}
				return next(ctx, d)
			}
		}))
		must[*bus.Subscription](t)(topicOf(t, a, invoices).Subscribe(t.Context(), "mail", func(context.Context, invoice) error {
			time.Sleep(time.Second)
			return nil
		}))
		a.Delay("orders", 1, time.Hour/2)
		start := time.Now()
		publish(t, a, "x")
		bustest.WaitIdle(t, a)
		if d := time.Since(start); d != 32*time.Minute+time.Second {
			t.Errorf("after %v", d)
		}
		bustest.RequireHandled(t, a, invoices, "mail", bustest.Value(invoice{"x"}))
		bustest.WaitIdle(t, b) // at once
	})
}

func TestWaitIdleSaysWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := failure(t, func(t testing.TB) {
			b := bustest.New(t, bustest.WaitTimeout(time.Minute))
			sub := billing(t, b)
			sub.Pause()
			publish(t, b, "a")
			b.Reorder("orders", 3)
			b.Delay("", 1, time.Hour)
			publish(t, b, "b", "c")
			b.Delay("invoices", 1, 1)
			if err := topicOf(t, b, invoices).Publish(t.Context(), invoice{}); err != nil {
				t.Fatal(err)
			}
			bustest.WaitIdle(t, b)
		})
		requireText(t, got, `
bustest: not idle after 1m0s:
  orders/billing: accepted 1 = handled 0 + discarded 0 + dead-lettered 0 + dropped 0 + abandoned 0 + pending 1 (queued 1, running 0, deferred 0)
  Delay holds 1 events, the first for 59m0s
  Reorder holds 2 events until 1 more come`)
		got = failure(t, func(t testing.TB) {
			a := bustest.New(t, bustest.WaitTimeout(time.Second))
			b := bustest.New(t, bustest.SharedWith(a))
			billing(t, b).Pause()
			publish(t, a, "a")
			bustest.WaitIdle(t, a)
		})
		requireContains(t, got, "\n  bus 2: orders/billing: accepted 1 ")
	})
}

// Outside a bubble, with real goroutines that publish in circles.
func TestWaitIdleSeesEventsThatGoRound(t *testing.T) {
	type ball struct{ Left int }
	cfg := bus.TopicConfig[ball]{Name: "ball"}
	buses := []*bustest.Bus{bustest.New(t)}
	for range 3 {
		buses = append(buses, bustest.New(t, bustest.SharedWith(buses[0])))
	}
	for round := range 200 {
		for i, b := range buses {
			topic := topicOf(t, b, cfg)
			next := topicOf(t, buses[(i+1)%len(buses)], cfg)
			if round == 0 {
				must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "player", func(ctx context.Context, x ball) error {
					if x.Left%len(buses) != i || x.Left == 0 {
						return nil
					}
					return next.Publish(ctx, ball{x.Left - 1})
				}))
			}
		}
		if err := topicOf(t, buses[0], cfg).Publish(t.Context(), ball{20}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitIdle(t, buses[round%len(buses)])
		for _, b := range buses { // each sees every event
			if st := b.Subscription("ball", "player").Stats(); st.Handled != uint64(21*(round+1)) {
				t.Fatalf("idle in round %d: %v", round, st)
			}
		}
	}
}
