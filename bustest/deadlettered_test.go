package bustest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/codec"
)

func TestDeadLettersAreFound(t *testing.T) {
	b := bustest.New(t)
	billing(t, b)
	topic := topicOf(t, b, orders)
	for _, o := range []order{{"a", 0}, {"b", 1}, {"c", 0}} {
		if err := topic.Publish(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	l := bustest.WaitDeadLettered(t, b, orders, "billing", bustest.Key[order]("c"))
	if l.Message.Value != (order{ID: "c"}) || !errors.Is(l.Err, errNothingToPay) || l.Attempts != 1 ||
		string(l.Payload) != `{"ID":"c","Cents":0}` || l.Delivery.Subscription() != "billing" {
		t.Errorf("%+v", l)
	}
	bustest.WaitIdle(t, b)
	if got := bustest.DeadLettered(t, b, orders, ""); len(got) != 2 || got[0].Message.Value.ID != "a" {
		t.Errorf("%+v", got)
	}
	if got := bustest.DeadLettered(t, b, orders, "audit"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	bustest.RequireDeadLettered(t, b, orders, "", bustest.Value(order{ID: "a"}))
	// What is looked at can still be replayed.
	if n, err := b.Subscription("orders", "billing").Replay(t.Context(), nil); n != 2 || err != nil {
		t.Errorf("replayed %d: %v", n, err)
	}
	bustest.WaitIdle(t, b)
	if got := bustest.DeadLettered(t, b, orders, ""); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// What can't be decoded is there with its bytes.
func TestPoison(t *testing.T) {
	b := bustest.New(t)
	sub := billing(t, b, bus.Lanes(4)) // so that its key is looked for, too
	b.Poison("orders", []byte("no json"))
	l := bustest.WaitDeadLettered(t, b, orders, "billing")
	var ce *codec.Error
	if string(l.Payload) != "no json" || l.Message.Value != (order{}) || !l.Message.ID.IsZero() || !errors.As(l.Err, &ce) {
		t.Errorf("%+v", l)
	}
	publish(t, b, "a") // it goes on
	bustest.WaitHandled(t, sub, 1)
	bustest.WaitIdle(t, b) // a letter is there before the event leaves the ledger's running
	if st := sub.Stats(); st.Accepted != 2 || st.DeadLettered != 1 || !st.Balanced() {
		t.Errorf("%v", st)
	}
	if f := b.Faults(); f.Injected != 1 {
		t.Errorf("%+v", f)
	}
	bustest.RequirePublishedOnce(t, b, orders) // the poison was not b's
}

func TestFailuresSayWhatWasGivenUpInstead(t *testing.T) {
	const want = `
looked for value {ID:z Cents:0}
dead letters: 1
  0: key "a" {ID:a Cents:0}
the nearest is 0 (- looked for, + found):
    - ID: "z"
    + ID: "a"
      Cents: 0
causes:
  0: attempt 1 of billing: nothing to pay
ledger of orders/billing: accepted 1 = handled 0 + discarded 0 + dead-lettered 1 + dropped 0 + abandoned 0 + pending 0 (queued 0, running 0, deferred 0)`
	give := func(t testing.TB) *bustest.Bus {
		b := bustest.New(t, bustest.AllowDeadLetters(), bustest.WaitTimeout(time.Minute))
		billing(t, b)
		if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitIdle(t, b)
		return b
	}
	synctest.Test(t, func(t *testing.T) {
		requireText(t, failure(t, func(t testing.TB) {
			bustest.RequireDeadLettered(t, give(t), orders, "billing", bustest.Value(order{ID: "z"}))
		}), "bustest: no dead letter of orders/billing matches"+want)
		requireText(t, failure(t, func(t testing.TB) {
			bustest.WaitDeadLettered(t, give(t), orders, "", bustest.Value(order{ID: "z"}))
		}), "bustest: no dead letter of orders/* matches after 1m0s"+want)
	})
}
