package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// The recorder, the waits and the checks at the end are those of any other bus.
func TestInProcessRecords(t *testing.T) {
	b := bustest.New(t, bustest.InProcess())
	sub := billing(t, b)
	publish(t, b, "a", "b")
	if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "c"}, bus.ID("id"), bus.Header("tenant", "x")); err != nil {
		t.Fatal(err)
	}
	bustest.WaitHandled(t, sub, 2)
	bustest.WaitPublished(t, b, invoices, bustest.Value(invoice{"b"}))
	bustest.WaitIdle(t, b)
	if got := ids(bustest.Published(t, b, orders)); got != "a b c" {
		t.Error(got)
	}
	if got := ids(bustest.Handled(t, b, orders, "billing")); got != "a b" {
		t.Error(got)
	}
	bustest.RequirePublishedOnce(t, b, invoices, bustest.Value(invoice{"a"}))
	bustest.RequireNotPublished(t, b, invoices, bustest.Value(invoice{"c"}))
	m := bustest.RequirePublished(t, b, orders, bustest.Key[order]("c"), bustest.ID[order]("id"), bustest.Header[order]("tenant", "x"))
	l := bustest.WaitDeadLettered(t, b, orders, "billing", bustest.ID[order]("id"))
	if !errors.Is(l.Err, errNothingToPay) || l.Message.Value != m.Value || l.Payload != nil {
		t.Errorf("%+v", l)
	}
	if b.Subscription("orders", "billing") != sub || len(b.Subscriptions()) != 1 {
		t.Error(b.Subscriptions())
	}
}

// What a handler and a publisher see is what they see on the bus of a program without a transport.
func TestInProcessIsAsInProduction(t *testing.T) {
	stamped := orders
	stamped.Name, stamped.Stamp = "stamped", true
	run := func(t *testing.T, b *bus.Bus) (seen []string) {
		t.Helper()
		for _, cfg := range []bus.TopicConfig[order]{orders, stamped} {
			topic := must[*bus.Topic[order]](t)(bus.NewTopic(b, cfg))
			var sub *bus.Subscription
			look := func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) error {
					_, payload := d.Payload()
					seen = append(seen, fmt.Sprint(d.Topic(), d.Subscription(), d.Partition(), d.Attempt(), d.Key(), d.Time(), d.Headers(),
						d.Publisher() == b.ID(), d.Encoded(), payload, d.ContentType(), d.ID().IsZero()))
					return next(ctx, d)
				}
			}
			sub = must[*bus.Subscription](t)(topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[order]) error {
				seen = append(seen, fmt.Sprint(m.Topic, m.Key, m.Time, m.Attempt, m.Headers, m.Value))
				return nil
			}, bus.Use(look)))
			var receipt bus.Receipt
			if err := topic.Publish(t.Context(), order{"a", 1}, bus.Header("k", "v"), bus.ReceiptTo(&receipt)); err != nil {
				t.Fatal(err)
			}
			if err := topic.PublishBatch(t.Context(), []order{{"b", 2}, {"c", 3}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			seen = append(seen, fmt.Sprint(receipt, topic.Stats(), sub.Stats()))
		}
		return seen
	}
	var production, test []string
	synctest.Test(t, func(t *testing.T) {
		b := must[*bus.Bus](t)(bus.New(bus.Config{}))
		production = run(t, b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t, bustest.InProcess())
		test = run(t, b.Bus)
		bustest.WaitIdle(t, b)
		for _, m := range bustest.Published(t, b, orders) {
			if !m.Time.IsZero() {
				t.Errorf("it was not stamped: %v", m)
			}
		}
		for _, m := range bustest.Published(t, b, stamped) {
			if !m.Time.Equal(time.Now()) {
				t.Errorf("it was stamped: %v", m)
			}
		}
	})
	if len(test) != 14 {
		t.Errorf("%q", test)
	}
	for i := range production {
		if production[i] != test[i] {
			t.Errorf("in production\n%s\nin the test\n%s", production[i], test[i])
		}
	}
}

// No codec touches an event: its type need not be one that a codec knows, and each subscription,
// and the recorder, have the same value.
func TestInProcessSharesTypedEvents(t *testing.T) {
	type job struct {
		done   chan string
		secret string
	}
	jobs := bus.TopicConfig[*job]{Name: "jobs"}
	b := bustest.New(t, bustest.InProcess())
	topic := topicOf(t, b, jobs)
	for _, name := range []string{"a", "b"} {
		must[*bus.Subscription](t)(topic.Subscribe(t.Context(), name, func(_ context.Context, j *job) error {
			j.done <- name + j.secret
			return nil
		}))
	}
	j := &job{make(chan string, 2), "!"}
	if err := topic.Publish(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	bustest.WaitIdle(t, b)
	if got := []string{<-j.done, <-j.done}; got[0] == got[1] || len(got[0]) != 2 {
		t.Error(got)
	}
	if bustest.RequirePublishedOnce(t, b, jobs).Value != j || bustest.RequireHandled(t, b, jobs, "b").Value != j {
		t.Error("it is another one")
	}
	bustest.RequirePublished(t, b, jobs, bustest.Value(j))
	requireContains(t, failure(t, func(t testing.TB) {
		bustest.RequirePublished(t, b, bus.TopicConfig[order]{Name: "jobs"})
	}), "event 0 of topic jobs", "the topic carries *bustest_test.job")
}

// What a codec drops counts in process: an event must be equal to what is looked for.
func TestInProcessValueIsExact(t *testing.T) {
	type note struct {
		Text   string
		secret string
	}
	notes := bus.TopicConfig[note]{Name: "notes"}
	for _, mode := range [][]bustest.Option{nil, {bustest.InProcess()}} {
		b := bustest.New(t, mode...)
		if err := topicOf(t, b, notes).Publish(t.Context(), note{"a", ""}); err != nil {
			t.Fatal(err)
		}
		exact, other := bustest.Published(t, b, notes, bustest.Value(note{"a", ""})), bustest.Published(t, b, notes, bustest.Value(note{"a", "c"}))
		if len(exact) != 1 || len(other) != 1-len(mode) {
			t.Errorf("%v: %v, %v", mode, exact, other)
		}
	}
}

// A question is published when it has a subscriber; answers and failures are those of production.
func TestInProcessAsks(t *testing.T) {
	questions := bus.TopicConfig[bus.Request[string, int]]{Name: "questions"}
	b := bustest.New(t, bustest.InProcess())
	topic := topicOf(t, b, questions)
	if _, err := bus.Ask(t.Context(), topic, "nobody"); !errors.Is(err, bus.ErrNoSubscriber) {
		t.Error(err)
	}
	must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "s", bus.Answer(func(ctx context.Context, q string) (int, error) {
		if q == "again" {
			return bus.Ask(ctx, topic, "length")
		}
		return len(q), nil
	})))
	if n, err := bus.Ask(t.Context(), topic, "length"); n != 6 || err != nil {
		t.Error(n, err)
	}
	if _, err := bus.Ask(t.Context(), topic, "again"); !errors.Is(err, bus.ErrWouldDeadlock) {
		t.Error(err)
	}
	bustest.RequireDeadLettered(t, b, questions, "s")
	asks := func(q string) bustest.Match[bus.Request[string, int]] {
		return bustest.Where(func(r bus.Request[string, int]) bool { return r.Query == q })
	}
	bustest.WaitIdle(t, b)
	bustest.RequireNotPublished(t, b, questions, asks("nobody"))
	bustest.RequireHandled(t, b, questions, "s", asks("length"))
	bustest.RequirePublishedOnce(t, b, questions, asks("again"))
}

func TestInProcessPolicies(t *testing.T) {
	b := bustest.New(t, bustest.InProcess())
	latest := must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "latest",
		func(context.Context, order) error { return nil }, bus.Mailbox(10, bus.KeepLatest)))
	latest.Pause()
	publish(t, b, "a", "b", "a", "a")
	latest.Resume()
	bustest.WaitIdle(t, b)
	if got := ids(bustest.Handled(t, b, orders, "latest")); got != "a b" {
		t.Error(got)
	}
	if got := ids(bustest.Published(t, b, orders)); got != "a b a a" {
		t.Error(got)
	}
	full := must[*bus.Subscription](t)(topicOf(t, b, invoices).Subscribe(t.Context(), "full",
		func(context.Context, invoice) error { return nil }, bus.Mailbox(1, bus.Fail)))
	full.Pause()
	for i := range 2 {
		if err := topicOf(t, b, invoices).Publish(t.Context(), invoice{fmt.Sprint(i)}); errors.Is(err, bus.ErrMailboxFull) != (i == 1) {
			t.Error(err)
		}
	}
	bustest.RequirePublishedOnce(t, b, invoices)
}

func TestInProcessGroup(t *testing.T) {
	b := bustest.New(t, bustest.InProcess())
	for _, name := range []string{"one", "two"} {
		must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), name,
			func(context.Context, order) error { return nil }, bus.Group("billing")))
	}
	for i := range 100 {
		publish(t, b, fmt.Sprint(i))
	}
	bustest.WaitIdle(t, b)
	one, two := bustest.Handled(t, b, orders, "one"), bustest.Handled(t, b, orders, "two")
	if len(one)+len(two) != 100 || len(one) == 0 || len(two) == 0 {
		t.Errorf("%d and %d", len(one), len(two))
	}
}

// Idle means that retries and what handlers publish are settled, too.
func TestInProcessIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t, bustest.InProcess())
		start := time.Now()
		out := topicOf(t, b, invoices)
		must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "s", func(ctx context.Context, o order) error {
			if time.Since(start) < time.Minute {
				return bus.Snooze(time.Minute)
			}
			return out.Publish(ctx, invoice{o.ID})
		}))
		must[*bus.Subscription](t)(out.Subscribe(t.Context(), "slow", func(context.Context, invoice) error {
			time.Sleep(time.Minute)
			return nil
		}))
		publish(t, b, "a")
		bustest.WaitPublished(t, b, invoices)
		if d := time.Since(start); d != time.Minute {
			t.Errorf("published after %v", d)
		}
		bustest.WaitIdle(t, b)
		if d := time.Since(start); d != 2*time.Minute {
			t.Errorf("idle after %v", d)
		}
	})
	requireContains(t, failure(t, func(t testing.TB) {
		b := bustest.New(t, bustest.InProcess(), bustest.WaitTimeout(time.Millisecond))
		billing(t, b).Pause()
		publish(t, b, "a")
		bustest.WaitIdle(t, b)
	}), "not idle after 1ms", "orders/billing: accepted 1")
}

// The clean-up looks for what it looks for on any bus.
func TestInProcessFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		text := failure(t, func(t testing.TB) {
			b := bustest.New(t, bustest.InProcess(), bustest.WaitTimeout(time.Second))
			must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "deaf",
				func(context.Context, order) error { <-end; return nil }))
			publish(t, b, "a")
			synctest.Wait()
		})
		requireContains(t, text, "goroutines of the bus still run: orders/deaf lane 0", "inprocess_test.go")
		close(end)
		synctest.Wait()
	})
	requireContains(t, failure(t, func(t testing.TB) {
		b := bustest.New(t, bustest.InProcess())
		billing(t, b)
		if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "free"}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitIdle(t, b)
	}), `orders/billing gave up an event that the test did not ask for`, `key "free", attempt 1: nothing to pay`)
	requireContains(t, failure(t, func(t testing.TB) {
		b := bustest.New(t, bustest.InProcess())
		billing(t, b, bus.Use(eager))
		publish(t, b, "a")
		bustest.WaitIdle(t, b)
	}), "orders/billing: middleware bustest_test.eager (debug_test.go:", "called next twice")
}

// What only a transport has fails the test, and says why and what to use.
func TestInProcessHasNoTransport(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(t testing.TB, b, other *bustest.Bus)
		want string
	}{
		"DropNext":    {func(_ testing.TB, b, _ *bustest.Bus) { b.DropNext("orders", 1) }, "bus.Mailbox(n, bus.DropOldest)"},
		"Duplicate":   {func(_ testing.TB, b, _ *bustest.Bus) { b.Duplicate("orders", 1) }, "Publish the event twice"},
		"Reorder":     {func(_ testing.TB, b, _ *bustest.Bus) { b.Reorder("orders", 1) }, "Publish in the order"},
		"Delay":       {func(_ testing.TB, b, _ *bustest.Bus) { b.Delay("orders", 1, 0) }, "Pause"},
		"FailPublish": {func(_ testing.TB, b, _ *bustest.Bus) { b.FailPublish("orders", 1, errNothingToPay) }, "bus.Mailbox(n, bus.Fail)"},
		"LoseReply":   {func(_ testing.TB, b, _ *bustest.Bus) { b.LoseReply("orders", 1, errNothingToPay) }, "Leave InProcess out"},
		"Inject":      {func(_ testing.TB, b, _ *bustest.Bus) { b.Inject(nil) }, ""},
		"Poison":      {func(_ testing.TB, b, _ *bustest.Bus) { b.Poison("orders", nil) }, "Leave InProcess out"},
		"Redeliver":   {func(t testing.TB, b, _ *bustest.Bus) { bustest.Redeliver(t, b, orders) }, "with its bus.ID"},
		"Faults":      {func(_ testing.TB, b, _ *bustest.Bus) { b.Faults() }, "none is counted"},
		"Disconnect":  {func(_ testing.TB, b, _ *bustest.Bus) { b.Disconnect() }, "Leave InProcess out"},
		"Reconnect":   {func(_ testing.TB, b, _ *bustest.Bus) { b.Reconnect() }, "Leave InProcess out"},
		"Sever":       {func(_ testing.TB, b, other *bustest.Bus) { bustest.Sever(other, b) }, "Leave InProcess out"},
		"Heal":        {func(_ testing.TB, b, other *bustest.Bus) { bustest.Heal(b, other) }, "Leave InProcess out"},
	} {
		t.Run(name, func(t *testing.T) {
			text := failure(t, func(t testing.TB) { tc.do(t, bustest.New(t, bustest.InProcess()), bustest.New(t)) })
			requireContains(t, text, "bustest: "+name+" acts on a transport, and a bus InProcess has none: ", tc.want)
			if l := len(text); l < 100 {
				t.Errorf("it says nothing of what to use: %s", text)
			}
		})
	}
	for want, opts := range map[string][]bustest.Option{
		"MaxPayload needs a transport":       {bustest.InProcess(), bustest.MaxPayload(10)},
		"SharedWith needs a broker":          {bustest.InProcess(), bustest.SharedWith(bustest.New(t))},
		"SharedWith was given a bus InProc":  {bustest.SharedWith(bustest.New(t, bustest.InProcess()))},
		"the Config has a Transport; bustes": {bustest.InProcess(), bustest.Config(bus.Config{Transport: noTransport{}})},
	} {
		requireContains(t, failure(t, func(t testing.TB) { bustest.New(t, opts...) }), want)
	}
}
