package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
)

// exampleT stands for a test's *testing.T, and prints what would fail it.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Context() context.Context          { return context.Background() }
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Logf(string, ...any)               {}
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (t *exampleT) Fatalf(format string, args ...any) { t.Errorf(format, args...) }

// Finish does what the end of a test does.
func (t *exampleT) Finish() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		f := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		f()
	}
}

type Order struct {
	ID    string
	Cents int
}

type Invoice struct {
	Order string
	Total string
}

var (
	Orders   = bus.TopicConfig[Order]{Name: "orders", Key: func(o Order) string { return o.ID }}
	Invoices = bus.TopicConfig[Invoice]{Name: "invoices"}
)

// StartBilling is the code under test: it answers each order with an invoice.
func StartBilling(ctx context.Context, b *bus.Bus, opts ...bus.SubscribeOption) error {
	orders, err := bus.NewTopic(b, Orders)
	if err != nil {
		return err
	}
	invoices, err := bus.NewTopic(b, Invoices)
	if err != nil {
		return err
	}
	_, err = orders.Subscribe(ctx, "billing", func(ctx context.Context, o Order) error {
		if o.Cents == 0 {
			return bus.DeadLetter(errors.New("nothing to pay"))
		}
		total := fmt.Sprintf("%d.%02d", o.Cents/100, o.Cents%100)
		return invoices.Publish(ctx, Invoice{Order: o.ID, Total: total})
	}, opts...)
	return err
}

// PlaceOrder is the code under test, too: it publishes.
func PlaceOrder(ctx context.Context, b *bus.Bus, o Order) error {
	orders, err := bus.NewTopic(b, Orders)
	if err != nil {
		return err
	}
	return orders.Publish(ctx, o)
}

func Example() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t)

	_ = StartBilling(t.Context(), b.Bus)
	_ = PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1", Cents: 1990})
	bustest.WaitIdle(t, b)

	m := bustest.RequirePublishedOnce(t, b, Invoices, bustest.Value(Invoice{Order: "o-1", Total: "19.90"}))
	fmt.Println(m.Value.Order, m.Value.Total)
	fmt.Println(b.Subscription("orders", "billing").Stats().Handled, "handled")
	// Output:
	// o-1 19.90
	// 1 handled
}

// A failure shows what was published instead, and how the nearest differs.
func ExampleRequirePublished() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t)
	_ = StartBilling(t.Context(), b.Bus)
	_ = PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1", Cents: 1990})
	bustest.WaitIdle(t, b)

	bustest.RequirePublished(t, b, Invoices, bustest.Value(Invoice{Order: "o-1", Total: "1.99"}))
	// Output:
	// bustest: nothing published on invoices matches
	// looked for value {Order:o-1 Total:1.99}
	// published on invoices: 1
	//   0: {Order:o-1 Total:19.90}
	// the nearest is 0 (- looked for, + found):
	//       Order: "o-1"
	//     - Total: "1.99"
	//     + Total: "19.90"
	// published on orders: 1
}

// Call runs one event through a handler and its middleware, all attempts included.
func ExampleCall() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()

	calls := 0
	charge := func(ctx context.Context, o Order) error {
		if calls++; calls == 1 {
			return errors.New("bank is offline")
		}
		return nil
	}
	o := bustest.Call(t, charge, Order{ID: "o-1"},
		bustest.OnTopic(Orders),
		bustest.UseWith(func(log *zap.Logger) []bus.Middleware {
			return []bus.Middleware{
				middleware.Logging(log, middleware.LoggingConfig{}),
				middleware.Retry(middleware.RetryConfig{InitialDelay: time.Millisecond, Jitter: -1}),
			}
		}))
	fmt.Println(o)
	fmt.Println(o.Logs[0].Level, o.Logs[0].Message)
	// Output:
	// handled
	//   attempt 1: retry after 1ms: bank is offline
	//   attempt 2: <nil>
	// warn handler failed
}

// Delivery builds what a middleware sees, so that it can be called as a function.
func ExampleDelivery() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()

	onlyTenant := func(tenant string) bus.Middleware { // under test
		return func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if d.Headers().Get("tenant") != tenant {
					return bus.Discard(fmt.Errorf("order %s is another tenant's", d.Key()))
				}
				return next(ctx, d)
			}
		}
	}
	handler := onlyTenant("acme")(func(context.Context, *bus.Delivery) error { return nil })
	fmt.Println(handler(t.Context(), bustest.Delivery(t, Orders, Order{ID: "o-1"}, bustest.PublishedWith(bus.Header("tenant", "acme")))))
	fmt.Println(handler(t.Context(), bustest.Delivery(t, Orders, Order{ID: "o-2"})))
	// Output:
	// <nil>
	// discard: order o-2 is another tenant's
}

// What a broker loses is a gap, at each subscription.
func ExampleBus_DropNext() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t)
	_ = StartBilling(t.Context(), b.Bus, bus.OnGap(func(g bus.Gap) { fmt.Println("missing:", g.Count, g.Kind) }))

	b.DropNext(Orders.Name, 1)
	_ = PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1", Cents: 1})
	_ = PlaceOrder(t.Context(), b.Bus, Order{ID: "o-2", Cents: 2})
	bustest.WaitIdle(t, b)
	for _, m := range bustest.Published(t, b, Invoices) {
		fmt.Println("invoice for", m.Value.Order)
	}
	// Output:
	// missing: 1 lost
	// invoice for o-2
}

// A publisher that tries again repeats the event; Dedup finds it out.
func ExampleBus_Duplicate() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t)
	_ = StartBilling(t.Context(), b.Bus, bus.Use(middleware.Dedup(middleware.DedupConfig{})))

	b.Duplicate(Orders.Name, 1)
	_ = PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1", Cents: 1})
	bustest.WaitIdle(t, b)
	bustest.RequirePublishedOnce(t, b, Invoices)
	st := b.Subscription("orders", "billing").Stats()
	fmt.Println(st.Accepted, "accepted,", st.Handled, "handled,", st.Discarded, "discarded")
	// Output:
	// 2 accepted, 1 handled, 1 discarded
}

// Bytes that are no event become a dead letter, and nothing else suffers.
func ExampleBus_Poison() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t)
	_ = StartBilling(t.Context(), b.Bus)

	b.Poison(Orders.Name, []byte("<order/>"))
	_ = PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1", Cents: 1})
	l := bustest.WaitDeadLettered(t, b, Orders, "billing")
	bustest.WaitIdle(t, b)
	fmt.Printf("dead letter: %s\n", l.Payload)
	fmt.Println(len(bustest.Published(t, b, Invoices)), "invoice")
	// Output:
	// dead letter: <order/>
	// 1 invoice
}

// Two buses on one broker are two processes; what one misses it is told of.
func ExampleBus_Disconnect() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	shop := bustest.New(t)
	billing := bustest.New(t, bustest.SharedWith(shop))
	_ = StartBilling(t.Context(), billing.Bus, bus.OnGap(func(g bus.Gap) { fmt.Println("missed:", g.Count, g.Reason) }))

	billing.Disconnect()
	_ = PlaceOrder(t.Context(), shop.Bus, Order{ID: "o-1", Cents: 1})
	err := PlaceOrder(t.Context(), billing.Bus, Order{ID: "o-2", Cents: 1})
	fmt.Println(errors.Is(err, bustest.ErrDisconnected))
	billing.Reconnect()
	bustest.WaitIdle(t, billing)
	// Output:
	// true
	// missed: 1 disconnected
}

// The clean-up fails the test for a dead letter that nobody looked at.
func ExampleNew() {
	t := &exampleT{} // in a test, the *testing.T
	b := bustest.New(t)
	_ = StartBilling(t.Context(), b.Bus)
	orders, _ := bus.NewTopic(b.Bus, Orders)
	_ = orders.Publish(t.Context(), Order{ID: "free"}, bus.ID("1"))
	bustest.WaitIdle(t, b)
	t.Finish()
	// Output:
	// bustest: orders/billing gave up an event that the test did not ask for (DeadLettered or AllowDeadLetters would): id 1, key "free", attempt 1: nothing to pay; payload "{\"ID\":\"free\",\"Cents\":0}"
}
