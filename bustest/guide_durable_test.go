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

// The tests of docs/testing.md of durable topics.

// DurableOrders is Orders in a log.
var DurableOrders = bus.TopicConfig[Order]{Name: "orders", Class: bus.Durable, Key: func(o Order) string { return o.ID }}

func subscribeBilling(t *testing.T, b *bus.Bus, bill func(context.Context, bus.Message[Order]) error) *bus.Topic[Order] {
	t.Helper()
	orders, err := bus.NewTopic(b, DurableOrders)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orders.SubscribeMessage(t.Context(), "billing", bill, bus.From(bus.Earliest())); err != nil {
		t.Fatal(err)
	}
	return orders
}

func TestBillingGoesOnAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t, bustest.InProcess())
		orders := subscribeBilling(t, b.Bus, func(ctx context.Context, _ bus.Message[Order]) error {
			<-ctx.Done() // the bank does not answer
			return context.Cause(ctx)
		})
		if err := orders.Publish(t.Context(), Order{ID: "o-1", Cents: 1990}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the handler has it
		b.Crash()

		b = bustest.New(t, bustest.RestartOf(b), bustest.InProcess())
		var redelivered bool
		subscribeBilling(t, b.Bus, func(_ context.Context, m bus.Message[Order]) error {
			redelivered = m.Redelivered
			return nil
		})
		bustest.WaitIdle(t, b)
		bustest.RequireHandled(t, b, DurableOrders, "billing", bustest.Key[Order]("o-1"))
		if !redelivered || bustest.Lag(t, b, "orders", "billing") != 0 {
			t.Error("the first attempt left no trace, or the second one is not in the log")
		}
	})
}

func TestBillingIsTriedTomorrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		began := time.Now()
		var billed time.Duration
		for _, runs := range []time.Duration{time.Hour, 48 * time.Hour} {
			connection := log.Connect() // each process has its own
			b, err := bus.New(bus.Config{Log: connection})
			if err != nil {
				t.Fatal(err)
			}
			orders := subscribeBilling(t, b, func(_ context.Context, m bus.Message[Order]) error {
				if m.Attempt == 1 {
					return bus.RetryAfter(24*time.Hour, errors.New("the bank is closed"))
				}
				billed = time.Since(began)
				return nil
			})
			if runs == time.Hour {
				if err := orders.Publish(t.Context(), Order{ID: "o-1", Cents: 1990}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(runs)
			if err := errors.Join(b.Shutdown(t.Context()), connection.Close()); err != nil {
				t.Error(err)
			}
		}
		if billed.Round(time.Second) != 24*time.Hour { // the restart did not begin again
			t.Errorf("billed after %v", billed)
		}
	})
}
