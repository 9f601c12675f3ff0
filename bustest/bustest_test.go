package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID    string
	Cents int
}

type invoice struct{ Order string }

var (
	orders   = bus.TopicConfig[order]{Name: "orders", Key: func(o order) string { return o.ID }}
	invoices = bus.TopicConfig[invoice]{Name: "invoices"}
)

// billing is the code under test of this file: it answers orders with invoices.
func billing(t testing.TB, b *bus.Bus) (*bus.Topic[order], *bus.Subscription) {
	t.Helper()
	in, err := bus.NewTopic(b, orders)
	if err != nil {
		t.Fatal(err)
	}
	out, err := bus.NewTopic(b, invoices)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := in.Subscribe(t.Context(), "billing", func(ctx context.Context, o order) error {
		if o.Cents == 0 {
			return nil
		}
		return out.Publish(ctx, invoice{Order: o.ID})
	})
	if err != nil {
		t.Fatal(err)
	}
	return in, sub
}

func TestPublishedEventsAreFound(t *testing.T) {
	b := bustest.New(t)
	in, sub := billing(t, b.Bus)
	if err := in.PublishBatch(t.Context(), []order{{"a", 100}, {"b", 0}}, bus.Header("tenant", "x")); err != nil {
		t.Fatal(err)
	}
	bustest.WaitHandled(t, sub, 2)
	if st := sub.Stats(); st.Handled != 2 || !st.Balanced() {
		t.Errorf("%v", st)
	}
	m := bustest.RequirePublished(t, b, invoices, bustest.Value(invoice{"a"}))
	if m.ID.IsZero() || m.Time.IsZero() {
		t.Errorf("%+v", m)
	}
	bustest.RequireNotPublished(t, b, invoices, bustest.Value(invoice{"b"}))
	if m := bustest.RequirePublished(t, b, orders, bustest.Key[order]("b")); m.Metadata["tenant"] != "x" {
		t.Errorf("%+v", m)
	}
	if got := bustest.Published(t, b, orders); len(got) != 2 || got[0].Value.ID != "a" || got[1].Value.ID != "b" {
		t.Errorf("%+v", got)
	}
	bustest.RequirePublished(t, b, orders, bustest.Where(func(o order) bool { return o.Cents > 99 }))
}

// fakeT catches what a helper does to its test.
type fakeT struct {
	testing.TB
	failure string
}

func (f *fakeT) Helper() {}
func (f *fakeT) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	panic(f)
}

// failure runs f, which must fail its test, and returns with what words.
func failure(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	ft := &fakeT{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(ft) {
				panic(r)
			}
		}()
		f(ft)
	}()
	if ft.failure == "" {
		t.Error("it did not fail the test")
	}
	return ft.failure
}

func TestFailuresSayWhatWasPublishedInstead(t *testing.T) {
	b := bustest.New(t)
	in, sub := billing(t, b.Bus)
	if err := in.Publish(t.Context(), order{"a", 100}); err != nil {
		t.Fatal(err)
	}
	bustest.WaitHandled(t, sub, 1)
	for _, tc := range []struct {
		f    func(t testing.TB)
		want []string
	}{
		{func(t testing.TB) { bustest.RequirePublished(t, b, invoices, bustest.Value(invoice{"z"})) },
			[]string{"nothing published on invoices matches", "{Order:a}", "published on orders: 1"}},
		{func(t testing.TB) { bustest.RequireNotPublished(t, b, orders) },
			[]string{"message 0 published on orders matches", `key "a"`}},
		{func(t testing.TB) {
			bustest.Published(t, b, bus.TopicConfig[[]int]{Name: "orders"})
		}, []string{"event 0 of topic orders", "codec json"}},
	} {
		got := failure(t, tc.f)
		for _, want := range tc.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q does not say %q", got, want)
			}
		}
	}
}

func TestWaitHandledGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		_, sub := billing(t, b.Bus)
		start := time.Now()
		got := failure(t, func(t testing.TB) { bustest.WaitHandled(t, sub, 1) })
		if !strings.Contains(got, "orders/billing has not handled 1 events") || time.Since(start) > 11*time.Second {
			t.Errorf("after %v: %s", time.Since(start), got)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		got = failure(t, func(t testing.TB) { bustest.WaitHandled(t, sub, 1) })
		if !strings.Contains(got, "ended before") {
			t.Error(got)
		}
	})
}

// Events make the round trip: what JSON drops, a handler does not see.
func TestEventsAreEncoded(t *testing.T) {
	type secret struct {
		Shown  string
		Hidden string `json:"-"`
	}
	b := bustest.New(t)
	cfg := bus.TopicConfig[secret]{Name: "secrets"}
	topic, err := bus.NewTopic(b.Bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan secret, 1)
	_, err = topic.Subscribe(t.Context(), "s", func(_ context.Context, s secret) error { got <- s; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := topic.Publish(t.Context(), secret{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != (secret{Shown: "a"}) {
		t.Errorf("%+v", s)
	}
}

// In a bubble, retries cost no time.
func TestRetriesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		topic, err := bus.NewTopic(b.Bus, orders)
		if err != nil {
			t.Fatal(err)
		}
		attempts := 0
		sub, err := topic.Subscribe(t.Context(), "s", func(context.Context, order) error {
			if attempts++; attempts < 4 {
				return bus.RetryAfter(time.Second, errors.New("not yet"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := topic.Publish(t.Context(), order{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitHandled(t, sub, 1)
		if d := time.Since(start).Round(time.Second); d != 3*time.Second {
			t.Errorf("three retries took %v", d)
		}
	})
}
