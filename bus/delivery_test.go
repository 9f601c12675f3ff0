package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// config is a bus's configuration on a broker of its own, or in-process.
func config(broker bool) bus.Config {
	if broker {
		return bus.Config{Transport: memory.NewBroker().Connect()}
	}
	return bus.Config{}
}

// bothWays runs f in a bubble in-process and through a broker.
func bothWays(t *testing.T, f func(t *testing.T, broker bool)) {
	for _, broker := range []bool{false, true} {
		t.Run(fmt.Sprint("broker ", broker), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, broker) })
		})
	}
}

// messages makes a subscription that collects what it gets.
func messages[T any](t testing.TB, topic *bus.Topic[T], name string, opts ...bus.SubscribeOption) *list[bus.Message[T]] {
	t.Helper()
	got := &list[bus.Message[T]]{}
	_, err := topic.SubscribeMessage(t.Context(), name, func(_ context.Context, m bus.Message[T]) error {
		got.add(m)
		return nil
	}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMessageFields(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		got := messages(t, topic, "s")
		time.Sleep(time.Hour)
		published := time.Now()
		if err := topic.Publish(t.Context(), event{"a", 1}, bus.Header("x", "0"), bus.Header("y", ""), bus.Header("x", "1")); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, event{"", 2})
		time.Sleep(time.Hour)
		shutdown(t, b)
		all := got.get()
		if len(all) != 2 {
			t.Fatalf("%v", all)
		}
		first, second := all[0], all[1]
		if first.Topic != "n" || first.Key != "a" || first.Attempt != 1 || first.Value != (event{"a", 1}) || second.Key != "" || second.Value != (event{"", 2}) {
			t.Errorf("%+v, %+v", first, second)
		}
		if first.Headers.Len() != 2 || first.Headers.Get("x") != "1" || !second.Headers.IsZero() || second.Headers.Get("x") != "" {
			t.Errorf("headers %v and %v", first.Headers, second.Headers)
		}
		if _, ok := first.Headers.Lookup("y"); !ok {
			t.Error("an empty header is gone")
		}
		for _, m := range all {
			if broker && !m.Time.Equal(published) || !broker && !m.Time.IsZero() {
				t.Errorf("time %v", m.Time)
			}
		}
	})
}

// With Stamp the time is there in-process too, for batches and with options.
func TestStamp(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Stamp: true})
		got := messages(t, topic, "s")
		time.Sleep(123 * time.Millisecond)
		published := time.Now()
		publish(t, topic, 1)
		if err := topic.PublishBatch(t.Context(), []int{2, 3}, bus.Header("a", "b")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		shutdown(t, b)
		if len(got.get()) != 3 {
			t.Errorf("%v", got.get())
		}
		for _, m := range got.get() {
			if !m.Time.Equal(published) {
				t.Errorf("%v, want %v", m.Time, published)
			}
		}
	})
}

// IDs are unique over events, topics and buses, the same for every
// subscription and attempt, and comparable.
func TestIDsAreUnique(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		ids := map[bus.MessageID]string{}
		texts := map[string]string{}
		for i := range 2 {
			b := newBus(t, config(broker))
			for j := range 3 {
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: fmt.Sprint("n", j)})
				one, two := messages(t, topic, "one"), messages(t, topic, "two", bus.Lanes(1))
				publish(t, topic, 1, 2, 3)
				if err := topic.PublishBatch(t.Context(), span(4, 100)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for k, m := range one.get() {
					where := fmt.Sprint("bus ", i, " topic ", j, " event ", k)
					if other := ids[m.ID]; other != "" {
						t.Errorf("%v is the ID of %s and of %s", m.ID, other, where)
					}
					if other := texts[m.ID.String()]; other != "" {
						t.Errorf("%q is the ID of %s and of %s", m.ID, other, where)
					}
					ids[m.ID], texts[m.ID.String()] = where, where
					if m.ID != two.get()[k].ID || m.ID.IsZero() {
						t.Errorf("%v for one subscription, %v for the other", m.ID, two.get()[k].ID)
					}
					if !strings.HasPrefix(m.ID.String(), b.ID()+".") {
						t.Errorf("%v does not name its publisher %s", m.ID, b.ID())
					}
				}
			}
		}
		if len(ids) != 600 {
			t.Errorf("%d IDs", len(ids))
		}
	})
}

func TestGivenID(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		got := messages(t, topic, "s")
		for _, id := range []string{"outbox-17", "", "outbox-17"} {
			if err := topic.Publish(t.Context(), 1, bus.ID(id)); err != nil {
				t.Fatal(err)
			}
		}
		shutdown(t, b)
		all := got.get()
		if all[0].ID.String() != "outbox-17" || all[0].ID != all[2].ID || all[0].ID.IsZero() {
			t.Errorf("%v and %v", all[0].ID, all[2].ID)
		}
		if all[1].ID.IsZero() || !strings.HasPrefix(all[1].ID.String(), b.ID()) {
			t.Errorf("an empty ID is the default: %v", all[1].ID)
		}
	})
	if id := (bus.MessageID{}); id.String() != "" || !id.IsZero() {
		t.Errorf("the zero ID: %v", id)
	}
}

// Messages kept by a handler stay what they were, however many come after.
func TestKeptMessagesStayIntact(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[doc]{Name: "docs", Key: func(d doc) string { return d.Name }})
		got := messages(t, topic, "s", bus.Mailbox(5, bus.Block), bus.Lanes(3))
		const n = 3000
		for i := range n {
			name := fmt.Sprint("doc", i)
			if err := topic.Publish(t.Context(), doc{Name: name, Tags: map[string]bool{name: true}, Note: "note of " + name},
				bus.ID(name), bus.Header("name", name)); err != nil {
				t.Fatal(err)
			}
		}
		shutdown(t, b)
		seen := map[string]bool{}
		for _, m := range got.get() {
			name := m.Value.Name
			seen[name] = true
			if m.ID.String() != name || m.Key != name || m.Headers.Get("name") != name || !m.Value.Tags[name] || len(m.Value.Tags) != 1 || m.Value.Note != "note of "+name {
				t.Fatalf("%+v", m)
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d", len(seen), n)
		}
	})
}

// What middleware sees of an event in-process and off a transport.
func TestDelivery(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		calls := 0
		look := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				calls++
				if d.Topic() != "n" || d.Subscription() != "s" || d.Partition() != 0 || d.Attempt() != calls || d.Key() != "a" ||
					d.Publisher() != b.ID() || d.ID().String() != "id" || d.Headers().Get("h") != "v" || d.Time().IsZero() == broker {
					t.Errorf("%v %v %v %v %v %v %v %v %v", d.Topic(), d.Subscription(), d.Partition(), d.Attempt(), d.Key(), d.Publisher(), d.ID(), d.Headers(), d.Time())
				}
				payload, ok := d.Payload()
				if d.Encoded() != broker || ok != broker {
					t.Errorf("encoded %v, payload %q", d.Encoded(), payload)
				}
				if broker && (string(payload) != `{"Key":"a","N":1}` || d.ContentType() != "application/json") || !broker && d.ContentType() != "" {
					t.Errorf("payload %s of type %q", payload, d.ContentType())
				}
				if v, ok := bus.Value[event](d); ok == broker || broker && v != nil {
					t.Errorf("value before Decode: %v, %v", v, ok)
				}
				for range 2 { // the second time does nothing
					if err := d.Decode(nil); err != nil || d.Encoded() {
						t.Errorf("decode: %v, encoded %v", err, d.Encoded())
					}
				}
				v, ok := bus.Value[event](d)
				if !ok || *v != (event{"a", 1}) {
					t.Errorf("value %v, %v", v, ok)
				}
				if v, ok := bus.Value[string](d); ok || v != nil {
					t.Errorf("a value of another type: %v", v)
				}
				if v, ok := bus.Value[*event](d); ok || v != nil {
					t.Errorf("a value of pointer type: %v", v)
				}
				if p, ok := d.Payload(); ok != broker || string(p) != string(payload) {
					t.Errorf("payload after Decode: %q", p)
				}
				if d.Key() != "a" {
					t.Errorf("key after Decode: %q", d.Key())
				}
				if err := next(ctx, d); err != nil || calls == 2 {
					return err
				}
				return bus.RetryAfter(time.Second, errAgain)
			}
		}
		s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			if e != (event{"a", 1}) {
				t.Errorf("%v", e)
			}
			return nil
		}, bus.Use(look))
		if err := topic.Publish(t.Context(), event{"a", 1}, bus.ID("id"), bus.Header("h", "v")); err != nil {
			t.Fatal(err)
		}
		shutdown(t, b)
		if st := stats(t, s); st.Handled != 1 || calls != 2 {
			t.Errorf("%v after %d attempts", st, calls)
		}
	})
}

// The chain is built once for a subscription, and runs for each attempt.
func TestChainIsBuiltOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		built, ran := 0, 0
		count := func(next bus.Handler) bus.Handler {
			built++
			return func(ctx context.Context, d *bus.Delivery) error {
				ran++
				return next(ctx, d)
			}
		}
		b := newBus(t, bus.Config{Use: []bus.Middleware{count}})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		first := true
		s := subscribe(t, topic, "s", func(context.Context, int) error {
			if first {
				first = false
				return bus.RetryAfter(time.Second, errAgain)
			}
			return nil
		}, bus.Use(count), bus.Use(count, count))
		publish(t, topic, 1, 2)
		shutdown(t, b)
		if built != 4 || ran != 4*3 {
			t.Errorf("built %d, ran %d", built, ran)
		}
		stats(t, s)
	})
}

// A middleware may settle an event without its handler.
func TestMiddlewareThatStopsTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var got list[int]
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error { got.add(n); return errBad }, bus.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				switch v, _ := bus.Value[int](d); *v {
				case 1:
					return nil
				case 2:
					return bus.Discard(nil)
				case 3:
					return bus.DeadLetter(nil)
				case 4:
					next(ctx, d)
					return nil // it knows better
				}
				return next(ctx, d)
			}
		}))
		publish(t, topic, 1, 2, 3, 4, 5)
		shutdown(t, b)
		got.require(t, "handler saw", 4, 5)
		if st := stats(t, s); st.Handled != 2 || st.Discarded != 1 || st.DeadLettered != 2 {
			t.Errorf("%v", st)
		}
	})
}
