package bustest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// The tests of docs/testing.md on a bus without a transport, and of several events.

func TestPricesAreAnswered(t *testing.T) {
	b := bustest.New(t, bustest.InProcess())
	if err := StartPrices(t.Context(), b.Bus, map[string]int{"o-1": 1990}); err != nil {
		t.Fatal(err)
	}
	prices, err := bus.NewTopic(b.Bus, Prices)
	if err != nil {
		t.Fatal(err)
	}
	if cents, err := bus.Ask(t.Context(), prices, "o-1"); err != nil || cents != 1990 {
		t.Errorf("%d, %v", cents, err)
	}
	bustest.WaitIdle(t, b)
	bustest.RequireHandled(t, b, Prices, "prices")
}

func TestFreeOrdersDoNotHoldUpTheBatch(t *testing.T) {
	insert := func(_ context.Context, batch []bus.Message[Order]) error {
		var failed []bus.IndexedError
		for i, m := range batch {
			if m.Value.Cents == 0 {
				failed = append(failed, bus.IndexedError{Index: i, Err: bus.Discard(errors.New("nothing to pay"))})
			}
		}
		if failed != nil {
			return &bus.BatchError{Failed: failed}
		}
		return nil
	}
	o := bustest.CallBatch(t, insert, []Order{{"o-1", 1}, {"free", 0}, {"o-2", 2}}, bustest.InProcess())
	if !o.Events[0].Handled() || o.Events[1].Action != bus.ActionDiscard || !o.Events[2].Handled() || len(o.Batches) != 1 {
		t.Error(o)
	}
}

func TestAnAccountHasALimit(t *testing.T) {
	account := func(_ context.Context, id string) (bus.Actor[Order], error) {
		sum := 0
		return bus.Actor[Order]{Handle: func(_ context.Context, o Order) error {
			if sum += o.Cents; sum > 100 {
				return bus.DeadLetter(errors.New("beyond the limit"))
			}
			return nil
		}}, nil
	}
	o := bustest.CallActor(t, account, []Order{{"a", 60}, {"b", 70}, {"a", 50}}, bustest.OnTopic(Orders), bustest.InProcess())
	if !o.Events[0].Handled() || !o.Events[1].Handled() || o.Events[2].Action != bus.ActionDeadLetter || len(o.Actors) != 2 {
		t.Error(o)
	}
}
