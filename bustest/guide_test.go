package bustest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
)

// The tests of docs/testing.md.

func TestBilling(t *testing.T) {
	b := bustest.New(t)
	if err := StartBilling(t.Context(), b.Bus); err != nil {
		t.Fatal(err)
	}
	if err := PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1", Cents: 1990}); err != nil {
		t.Fatal(err)
	}
	bustest.WaitIdle(t, b)
	bustest.RequirePublishedOnce(t, b, Invoices, bustest.Value(Invoice{Order: "o-1", Total: "19.90"}))
}

func TestBankIsTriedForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		o := bustest.Call(t, func(context.Context, Order) error {
			if time.Since(start) < time.Hour {
				return errors.New("bank is offline")
			}
			return nil
		}, Order{ID: "o-1"}, bustest.Within(24*time.Hour), bustest.Use(middleware.Retry(middleware.RetryConfig{
			MaxAttempts: 100, InitialDelay: time.Second, MaxDelay: 10 * time.Minute,
		})))
		if !o.Handled() || len(o.Attempts) < 10 {
			t.Error(o)
		}
	})
}

func TestASlowBankIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := bustest.Call(t, func(ctx context.Context, o Order) error {
			select {
			case <-time.After(time.Hour):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}, Order{ID: "o-1"}, bustest.Use(middleware.Timeout(30*time.Second)))
		if o.Action != bus.ActionDeadLetter || !errors.Is(o.Err, context.DeadlineExceeded) || o.Attempts[0].Took != 30*time.Second {
			t.Error(o)
		}
	})
}

func TestOneOrderWaitsAndOthersDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		orders, err := bus.NewTopic(b.Bus, Orders)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		sub, err := orders.Subscribe(t.Context(), "ship", func(_ context.Context, o Order) error {
			if o.ID == "backorder" && time.Since(start) < time.Minute {
				return bus.Snooze(time.Minute)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := orders.PublishBatch(t.Context(), []Order{{ID: "backorder"}, {ID: "o-1"}, {ID: "o-2"}}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitHandled(t, sub, 2) // those that need not wait
		if d := time.Since(start); d != 0 {
			t.Errorf("they waited %v", d)
		}
		bustest.WaitIdle(t, b)
		bustest.RequireHandled(t, b, Orders, "ship", bustest.Key[Order]("backorder"))
	})
}

func TestFreeOrdersAreGivenUp(t *testing.T) {
	b := bustest.New(t)
	if err := StartBilling(t.Context(), b.Bus); err != nil {
		t.Fatal(err)
	}
	if err := PlaceOrder(t.Context(), b.Bus, Order{ID: "free"}); err != nil {
		t.Fatal(err)
	}
	l := bustest.WaitDeadLettered(t, b, Orders, "billing", bustest.Key[Order]("free"))
	if l.Err.Error() != "nothing to pay" || l.Message.Value.Cents != 0 {
		t.Errorf("%+v", l)
	}
	bustest.WaitIdle(t, b)
	bustest.RequireNotPublished(t, b, Invoices)
}

func TestOrdersArePlacedWhenTheBrokerRefuses(t *testing.T) {
	b := bustest.New(t)
	errFull := errors.New("out of memory")
	b.FailPublish(Orders.Name, 1, errFull)
	if err := PlaceOrder(t.Context(), b.Bus, Order{ID: "o-1"}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	bustest.RequireNotPublished(t, b, Orders)
}

func TestBillingCrashes(t *testing.T) {
	shop := bustest.New(t)
	billing := bustest.New(t, bustest.SharedWith(shop))
	if err := StartBilling(t.Context(), billing.Bus); err != nil {
		t.Fatal(err)
	}
	billing.Crash()
	if err := PlaceOrder(t.Context(), shop.Bus, Order{ID: "o-1", Cents: 1}); err != nil {
		t.Fatal(err) // nobody hears it: an ephemeral topic
	}
	successor := bustest.New(t, bustest.SharedWith(shop))
	if err := StartBilling(t.Context(), successor.Bus); err != nil {
		t.Fatal(err)
	}
	if err := PlaceOrder(t.Context(), shop.Bus, Order{ID: "o-2", Cents: 2}); err != nil {
		t.Fatal(err)
	}
	bustest.WaitIdle(t, shop)
	bustest.RequirePublishedOnce(t, successor, Invoices, bustest.Value(Invoice{Order: "o-2", Total: "0.02"}))
}

// Each piece of Go in docs/testing.md stands in a test.
func TestGuideIsTested(t *testing.T) {
	guide, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, pattern := range []string{"*_test.go", "fakecluster/*_test.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(source)
		}
	}
	blocks := strings.Split(string(guide), "```go\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("only %d pieces of code were found", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(tests.String(), code) {
			t.Errorf("this is in no test:\n%s", code)
		}
	}
}
