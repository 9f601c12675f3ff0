package bustest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
)

// listen subscribes to orders and only counts.
func listen(t testing.TB, b *bustest.Bus, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	return must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "audit",
		func(context.Context, order) error { return nil }, opts...))
}

// heard are the orders that the subscription has handled.
func heard(t testing.TB, b *bustest.Bus) string {
	t.Helper()
	bustest.WaitIdle(t, b)
	return ids(bustest.Handled(t, b, orders, "audit"))
}

func requireHeard(t testing.TB, b *bustest.Bus, want string) {
	t.Helper()
	if got := heard(t, b); got != want {
		t.Errorf("handled %q, want %q", got, want)
	}
}

func requireFaults(t testing.TB, b *bustest.Bus, want bustest.Faults) {
	t.Helper()
	if got := b.Faults(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func requireGaps(t testing.TB, sub *bus.Subscription, want ...transport.Gap) {
	t.Helper()
	got := sub.Gaps()
	if len(got) != len(want) {
		t.Errorf("%d gaps: %v, want %v", len(got), got, want)
		return
	}
	for i := range want {
		if got[i].Since.IsZero() {
			t.Errorf("%v has no Since", got[i])
		}
		got[i].Since = time.Time{}
		if got[i] != want[i] {
			t.Errorf("gap %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func gap(publisher *bustest.Bus, from, to uint64, reason transport.GapReason) transport.Gap {
	return transport.Gap{Topic: "orders", Publisher: publisher.ID(), From: from, To: to, Count: to - from + 1,
		Kind: transport.Lost, Reason: reason}
}

func TestDropNext(t *testing.T) {
	b := bustest.New(t)
	other := bustest.New(t, bustest.SharedWith(b))
	var told atomic.Int64
	sub := listen(t, b, bus.OnGap(func(g bus.Gap) { told.Add(int64(g.Count)) }))
	far := listen(t, other)
	publish(t, b, "1")
	b.DropNext("orders", 2)
	if err := topicOf(t, b, invoices).Publish(t.Context(), invoice{}); err != nil { // not meant
		t.Fatal(err)
	}
	publish(t, b, "2", "3", "4")
	publish(t, other, "5")
	requireHeard(t, b, "1 4 5")
	requireHeard(t, other, "1 4 5")
	requireGaps(t, sub, gap(b, 2, 3, transport.Unknown))
	requireGaps(t, far, gap(b, 2, 3, transport.Unknown))
	requireFaults(t, b, bustest.Faults{Dropped: 2})
	bustest.WaitIdle(t, b)
	if n := told.Load(); n != 2 {
		t.Errorf("OnGap was told of %d", n)
	}
	if got := bustest.Published(t, b, orders); ids(got) != "1 2 3 4" {
		t.Errorf("%v", ids(got))
	}
}

func TestDuplicate(t *testing.T) {
	b := bustest.New(t)
	sub := listen(t, b)
	b.Duplicate("", 1)
	publish(t, b, "1", "2")
	requireHeard(t, b, "1 1 2")
	got := bustest.Handled(t, b, orders, "audit")
	if got[0].ID != got[1].ID || got[0].ID == got[2].ID {
		t.Errorf("%v", got)
	}
	if st := sub.Stats(); st.Accepted != 3 {
		t.Errorf("%v", st)
	}
	requireGaps(t, sub)
	requireFaults(t, b, bustest.Faults{Duplicated: 1})
	bustest.RequirePublishedOnce(t, b, orders, bustest.Key[order]("1"))
}

func TestReorder(t *testing.T) {
	b := bustest.New(t)
	sub := listen(t, b)
	b.Reorder("orders", 3)
	publish(t, b, "1", "2")
	if f := b.Faults(); f.Held != 2 || sub.Stats().Accepted != 0 {
		t.Errorf("%+v, %v", f, sub.Stats())
	}
	publish(t, b, "3", "4")
	requireHeard(t, b, "3 2 1 4")
	requireGaps(t, sub)
	requireFaults(t, b, bustest.Faults{Reordered: 3})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		var at []time.Duration
		start := time.Now()
		must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "audit", func(context.Context, order) error {
			at = append(at, time.Since(start))
			return nil
		}))
		b.Delay("orders", 2, time.Minute)
		b.Delay("orders", 1, time.Second)
		publish(t, b, "1", "2", "3", "4")
		requireFaults(t, b, bustest.Faults{Delayed: 3, Held: 3})
		requireHeard(t, b, "4 3 1 2")
		for i, want := range []time.Duration{0, time.Second, time.Minute, time.Minute} {
			if at[i] != want {
				t.Errorf("the events came at %v", at)
				break
			}
		}
		requireFaults(t, b, bustest.Faults{Delayed: 3})
		b.Delay("", 1, time.Hour) // and never comes
		publish(t, b, "5")
	})
}

func TestFailPublish(t *testing.T) {
	b := bustest.New(t)
	sub := listen(t, b)
	errFull := errors.New("the broker is full")
	b.FailPublish("orders", 2, errFull)
	topic := topicOf(t, b, orders)
	err := topic.Publish(t.Context(), order{ID: "1"})
	var be *bus.Error
	if !errors.Is(err, errFull) || !errors.As(err, &be) || be.Op != "publish" {
		t.Errorf("%v", err)
	}
	// Of a batch only those fail.
	err = topic.PublishBatch(t.Context(), []order{{ID: "2"}, {ID: "3"}})
	var batch *bus.BatchError
	if !errors.As(err, &batch) || len(batch.Failed) != 1 || batch.Failed[0].Index != 0 {
		t.Errorf("%v", err)
	}
	requireHeard(t, b, "3")
	requireGaps(t, sub)
	requireFaults(t, b, bustest.Faults{Failed: 2})
	if got := bustest.Published(t, b, orders); ids(got) != "3" {
		t.Errorf("%v", ids(got))
	}
}

func TestLoseReply(t *testing.T) {
	b := bustest.New(t)
	listen(t, b)
	errTimeout := errors.New("i/o timeout")
	b.LoseReply("orders", 1, errTimeout)
	topic := topicOf(t, b, orders)
	for range 2 { // a publisher that tries again
		if err := topic.Publish(t.Context(), order{ID: "1"}, bus.ID("o-1")); err == nil {
			break
		} else if !errors.Is(err, errTimeout) {
			t.Errorf("%v", err)
		}
	}
	requireHeard(t, b, "1 1")
	requireFaults(t, b, bustest.Faults{RepliesLost: 1})
	if got := bustest.Published(t, b, orders, bustest.ID[order]("o-1")); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestRedeliver(t *testing.T) {
	b := bustest.New(t)
	sub := listen(t, b)
	publish(t, b, "1", "2", "3")
	if n := bustest.Redeliver(t, b, orders, bustest.Where(func(o order) bool { return o.ID != "2" })); n != 2 {
		t.Errorf("redelivered %d", n)
	}
	requireHeard(t, b, "1 2 3 1 3")
	requireFaults(t, b, bustest.Faults{Redelivered: 2})
	if got := bustest.Handled(t, b, orders, "audit"); got[0].ID != got[3].ID {
		t.Errorf("%v", got)
	}
	if st := sub.Stats(); st.Accepted != 5 {
		t.Errorf("%v", st)
	}
	if got := bustest.Published(t, b, orders); len(got) != 3 {
		t.Errorf("%v", got)
	}
}

// The first fault that is not used up has the event, and no other.
func TestFaultsTakeTurns(t *testing.T) {
	b := bustest.New(t)
	sub := listen(t, b)
	b.DropNext("orders", 1)
	b.Duplicate("orders", 2)
	b.FailPublish("invoices", 1, errors.New("no"))
	publish(t, b, "1", "2", "3", "4")
	requireHeard(t, b, "2 2 3 3 4")
	requireGaps(t, sub, gap(b, 1, 1, transport.Unknown))
	requireFaults(t, b, bustest.Faults{Dropped: 1, Duplicated: 2})
}

func TestFaultsForNothingAreRefused(t *testing.T) {
	requireText(t, failure(t, func(t testing.TB) { bustest.New(t).DropNext("orders", 0) }),
		"bustest: a fault for 0 events does nothing")
}

// A publisher whose context has ended fails first, and uses no fault up.
func TestFaultsAndContexts(t *testing.T) {
	b := bustest.New(t)
	listen(t, b)
	b.DropNext("", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := topicOf(t, b, orders).Publish(ctx, order{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	requireFaults(t, b, bustest.Faults{})
	publish(t, b, "1")
	requireHeard(t, b, "")
}
