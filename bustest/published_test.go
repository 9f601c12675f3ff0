package bustest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

func TestPublishedEventsAreFound(t *testing.T) {
	b := bustest.New(t)
	sub := billing(t, b)
	err := topicOf(t, b, orders).PublishBatch(t.Context(), []order{{"a", 100}, {"b", 200}}, bus.Header("tenant", "x"))
	if err != nil {
		t.Fatal(err)
	}
	bustest.WaitHandled(t, sub, 2)
	if st := sub.Stats(); st.Handled != 2 || !st.Balanced() {
		t.Errorf("%v", st)
	}
	m := bustest.RequirePublishedOnce(t, b, invoices, bustest.Value(invoice{"a"}))
	if m.ID.IsZero() || m.Time.IsZero() {
		t.Errorf("%+v", m)
	}
	bustest.RequirePublished(t, b, invoices, bustest.ID[invoice](m.ID.String()))
	bustest.RequireNotPublished(t, b, invoices, bustest.Value(invoice{"c"}))
	bustest.RequirePublished(t, b, orders, bustest.Key[order]("b"), bustest.Header[order]("tenant", "x"))
	bustest.RequireNotPublished(t, b, orders, bustest.Key[order]("b"), bustest.Header[order]("tenant", "y"))
	bustest.RequirePublished(t, b, orders, bustest.Where(func(o order) bool { return o.Cents > 100 }))
	bustest.RequirePublished(t, b, orders, bustest.WhereMessage(func(m bus.Message[order]) bool { return m.Key == m.Value.ID }))
	if got := bustest.Published(t, b, orders); ids(got) != "a b" {
		t.Errorf("%+v", got)
	}
	if got := bustest.Published(t, b, orders, bustest.Key[order]("b")); ids(got) != "b" {
		t.Errorf("%+v", got)
	}
}

// What a codec can't keep makes no difference to what is looked for.
func TestValuesAreComparedAsTheyArrive(t *testing.T) {
	type at struct{ Time time.Time }
	cfg := bus.TopicConfig[at]{Name: "at"}
	b := bustest.New(t)
	v := at{time.Now()} // with a monotonic clock
	if err := topicOf(t, b, cfg).Publish(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	bustest.RequirePublished(t, b, cfg, bustest.Value(v))
	bustest.RequireNotPublished(t, b, cfg, bustest.Value(at{v.Time.Add(1)}))
}

func TestWaitPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		topic := topicOf(t, b, orders)
		start := time.Now()
		timer := time.AfterFunc(time.Minute, func() {
			if err := topic.Publish(context.Background(), order{"a", 1}); err != nil {
				t.Error(err)
			}
		})
		defer timer.Stop()
		bustest.WaitPublished(t, b, orders, bustest.Key[order]("a"))
		if d := time.Since(start); d != time.Minute {
			t.Errorf("after %v", d)
		}
	})
}

// failures are those of a bus that published two orders and their invoices.
func TestFailuresSayWhatWasPublishedInstead(t *testing.T) {
	for name, tc := range map[string]struct {
		f    func(t testing.TB, b *bustest.Bus)
		want string
	}{
		"another value": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.RequirePublished(t, b, orders, bustest.Value(order{"b", 150}))
			}, `
bustest: nothing published on orders matches
looked for value {ID:b Cents:150}
published on orders: 3
  0: key "a" {ID:a Cents:100}
  1: key "b" {ID:b Cents:100}
  2: key "b" {ID:b Cents:100}
the nearest is 1 (- looked for, + found):
      ID: "b"
    - Cents: 150
    + Cents: 100
published on invoices: 3`,
		},
		"another key and header": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.RequirePublishedOnce(t, b, orders, bustest.Key[order]("z"), bustest.Header[order]("tenant", "x"), bustest.ID[order]("7"))
			}, `
bustest: nothing published on orders matches
looked for key "z" and header tenant "x" and id "7"
published on orders: 3
  0: key "a" {ID:a Cents:100}
  1: key "b" {ID:b Cents:100}
  2: key "b" {ID:b Cents:100}
the nearest is 0 (- looked for, + found):
    - key: "z"
    + key: "a"
    - header tenant: "x"
    - id: "7"
    + id: "%ID0%"
published on invoices: 3`,
		},
		"a function": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.RequirePublished(t, b, invoices, bustest.Where(func(invoice) bool { return false }))
			}, `
bustest: nothing published on invoices matches
looked for a function
published on invoices: 3
  0: {Order:a}
  1: {Order:b}
  2: {Order:b}
the nearest is 0 (- looked for, + found):
      the function says no
published on orders: 3`,
		},
		"nothing at all": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.RequirePublished(t, b, bus.TopicConfig[int]{Name: "numbers"})
			}, `
bustest: nothing published on numbers matches
published on numbers: 0
published on invoices: 3
published on orders: 3`,
		},
		"not once": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.RequirePublishedOnce(t, b, orders, bustest.Key[order]("b"))
			}, `
bustest: 2 messages published on orders match, and one was expected
looked for key "b"
published on orders: 3
  0: key "a" {ID:a Cents:100}
  1: key "b" {ID:b Cents:100}  <- matches
  2: key "b" {ID:b Cents:100}  <- matches`,
		},
		"what should not be": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.RequireNotPublished(t, b, orders, bustest.Key[order]("a"))
			}, `
bustest: message 0 published on orders matches, and none was expected
looked for key "a"
published on orders: 3
  0: key "a" {ID:a Cents:100}  <- matches
  1: key "b" {ID:b Cents:100}
  2: key "b" {ID:b Cents:100}`,
		},
		"another type": {
			func(t testing.TB, b *bustest.Bus) {
				bustest.Published(t, b, bus.TopicConfig[[]int]{Name: "orders"})
			}, `
bustest: event 0 of topic orders: dead letter: bus: decode orders: subscription test: codec json: decode []int: ` +
				`json: cannot unmarshal object into Go value of type []int`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var first string
			got := failure(t, func(ft testing.TB) {
				b := bustest.New(ft)
				billing(ft, b)
				publish(ft, b, "a", "b", "b")
				bustest.WaitIdle(ft, b)
				first = bustest.Published(ft, b, orders)[0].ID.String()
				tc.f(ft, b)
			})
			requireText(t, got, replace(tc.want, "%ID0%", first))
		})
	}
}

func TestWaitPublishedGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := failure(t, func(t testing.TB) {
			b := bustest.New(t, bustest.WaitTimeout(time.Minute))
			publish(t, b, "a")
			bustest.WaitPublished(t, b, orders, bustest.Key[order]("b"))
		})
		requireText(t, got, `
bustest: nothing published on orders matches after 1m0s
looked for key "b"
published on orders: 1
  0: key "a" {ID:a Cents:100}
the nearest is 0 (- looked for, + found):
    - key: "b"
    + key: "a"`)
	})
}

// Long lists and values are cut.
func TestFailuresAreBounded(t *testing.T) {
	got := failure(t, func(t testing.TB) {
		b := bustest.New(t)
		for range 30 {
			publish(t, b, string(make([]byte, 2_000)))
		}
		bustest.RequirePublished(t, b, orders, bustest.Value(order{ID: string(make([]byte, 2_001))}))
	})
	if len(got) > 40_000 {
		t.Errorf("a failure of %d bytes", len(got))
	}
	requireContains(t, got, "… and 10 more", "bytes)")
}
