package bustest_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// forgetful is a middleware that does not call next.
func forgetful(bus.Handler) bus.Handler {
	return func(context.Context, *bus.Delivery) error { return nil }
}

// eager calls next twice.
func eager(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		if err := next(ctx, d); err != nil {
			return err
		}
		return next(ctx, d)
	}
}

// greedy keeps the last Delivery, and looks at it when the next one comes.
func greedy() bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		var last *bus.Delivery
		return func(ctx context.Context, d *bus.Delivery) error {
			if last != nil {
				last.Key()
			}
			last = d
			return next(ctx, d)
		}
	}
}

// hasty asks the Delivery on a goroutine of its own.
func hasty(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.Topic()
		}()
		<-done
		return next(ctx, d)
	}
}

// Misuse of events and of next fails the test, with topic, subscription and who did it.
func TestMisuseFailsTheTest(t *testing.T) {
	type list struct{ Items []string }
	lists := bus.TopicConfig[list]{Name: "lists", Key: func(l list) string { return l.Items[0] }}
	sorts := func(_ context.Context, l list) error { l.Items[0] = "z"; return nil }
	reads := func(context.Context, list) error { return nil }
	for name, tc := range map[string]struct {
		handler func(context.Context, list) error
		use     bus.Middleware
		want    string
	}{
		"never": {reads, forgetful, `bustest: lists/sorter: middleware bustest_test.forgetful.func1 (debug_test.go) returned nil and has not called next: ` +
			`event e counts as handled, and no handler has seen it. If that is meant, return bus.Discard with the reason (AllowMisuse accepts it)`},
		"twice": {reads, eager, `bustest: lists/sorter: middleware bustest_test.eager.func1 (debug_test.go) called next twice in one attempt, for event e: ` +
			`return bus.RetryAfter to have it attempted again (AllowMisuse accepts it)`},
		"too late": {reads, greedy(), `bustest: lists/sorter: bustest_test.TestMisuseFailsTheTest.greedy.func6.1 (debug_test.go) used Delivery.Key after the attempt at ` +
			`event e had returned: a Delivery is valid until then. Keep what Clone returns (AllowMisuse accepts it)`},
		"elsewhere": {reads, hasty, `bustest: lists/sorter: bustest_test.hasty.func1.1 (debug_test.go) used Delivery.Topic on another goroutine than the attempt's, ` +
			`at event e: keep what Clone returns, made before that goroutine starts (AllowMisuse accepts it)`},
		"changed": {sorts, nil, `bustest: lists/sorter: handler bustest_test.TestMisuseFailsTheTest.func1 (debug_test.go) changed the value of event e: ` +
			`events are shared, and must not be changed. Change a copy (AllowMisuse accepts it)`},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(opts ...bustest.Option) string {
				ft := &fakeT{TB: t}
				b := bustest.New(ft, opts...)
				topic := topicOf(t, b, lists)
				var use []bus.SubscribeOption
				if tc.use != nil {
					use = append(use, bus.Use(tc.use))
				}
				must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "sorter", tc.handler, use...))
				for range 3 {
					if err := topic.Publish(t.Context(), list{[]string{"a", "b"}}, bus.ID("e")); err != nil {
						t.Fatal(err)
					}
				}
				bustest.WaitIdle(ft, b)
				return ft.finish()
			}
			// A closure's name depends on how it was compiled.
			name := regexp.MustCompile(`bustest_test\.[\w.]+`)
			line := regexp.MustCompile(`\.go:\d+`)
			plain := func(text string) string {
				return name.ReplaceAllString(line.ReplaceAllString(text, ".go"), "<name>")
			}
			requireText(t, plain(run()), plain(tc.want))
			requireText(t, run(bustest.AllowMisuse()), "")
			requireText(t, run(bustest.WithoutDebug()), "")
		})
	}
}

// Of a function with a name the report has it.
func TestMisuseNamesWhoDidIt(t *testing.T) {
	text := failure(t, func(t testing.TB) {
		b := bustest.New(t)
		billing(t, b, bus.Use(eager))
		publish(t, b, "a")
		bustest.WaitIdle(t, b)
	})
	if !strings.Contains(text, "orders/billing: middleware bustest_test.eager (debug_test.go:") {
		t.Error(text)
	}
}

// Call looks too.
func TestCallReportsMisuse(t *testing.T) {
	text := failure(t, func(t testing.TB) {
		bustest.Call(t, func(context.Context, order) error { return nil }, order{ID: "a"}, bustest.Use(forgetful))
	})
	requireContains(t, text, "call/handler", "has not called next")
}
