package bustest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/middleware"
)

func TestCall(t *testing.T) {
	errNo := errors.New("no")
	for name, tc := range map[string]struct {
		h    func(context.Context, order) error
		want string
	}{
		"handled":     {func(context.Context, order) error { return nil }, "handled\n  attempt 1: <nil>"},
		"an error":    {func(context.Context, order) error { return errNo }, "dead letter: no\n  attempt 1: no"},
		"dead letter": {func(context.Context, order) error { return bus.DeadLetter(errNo) }, "dead letter: no\n  attempt 1: dead letter: no"},
		"discard":     {func(context.Context, order) error { return bus.Discard(errNo) }, "discard: no\n  attempt 1: discard: no"},
		"a panic":     {func(context.Context, order) error { panic("ouch") }, "dead letter: panic: ouch\n  attempt 1: panic: ouch"},
	} {
		t.Run(name, func(t *testing.T) {
			o := bustest.Call(t, tc.h, order{ID: "a"})
			requireText(t, o.String(), tc.want)
			if o.Handled() != (name == "handled") || (o.Letter != nil) != (o.Action == bus.ActionDeadLetter) {
				t.Errorf("%+v", o)
			}
			if o.Stats.Accepted != 1 || o.Stats.Pending() != 0 {
				t.Errorf("%v", o.Stats)
			}
		})
	}
}

func TestCallRunsTheRealChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var seen []string
		o := bustest.Call(t, func(ctx context.Context, o order) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("Timeout is not there")
			}
			time.Sleep(time.Second)
			return errors.New("bank is closed")
		}, order{ID: "a", Cents: 7},
			bustest.OnTopic(orders),
			bustest.PublishedWith(bus.ID("o-1"), bus.Header("tenant", "x")),
			bustest.UseWith(func(log *zap.Logger) []bus.Middleware {
				return []bus.Middleware{middleware.Logging(log, middleware.LoggingConfig{})}
			}),
			bustest.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialDelay: time.Hour / 8, Jitter: -1})),
			bustest.Subscribed(bus.Use(middleware.Timeout(time.Minute)), bus.Use(func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) error {
					seen = append(seen, d.ID().String()+" "+d.Key()+" "+d.Headers().Get("tenant"))
					return next(ctx, d)
				}
			})),
		)
		if o.Action != bus.ActionDeadLetter || len(o.Attempts) != 3 || o.Letter.Attempts != 3 {
			t.Fatal(o)
		}
		for i, a := range o.Attempts {
			if a.Number != i+1 || a.Took != time.Second {
				t.Errorf("%+v", a)
			}
		}
		if v, ok := o.Attempts[0].Verdict(); !ok || v.Action != bus.ActionRetry || v.After != time.Hour/8 {
			t.Errorf("%v", o.Attempts[0].Err)
		}
		if d := o.Attempts[1].Began.Sub(began); d != time.Hour/8+time.Second {
			t.Errorf("the second attempt began after %v", d)
		}
		if len(seen) != 3 || seen[0] != "o-1 a x" {
			t.Errorf("%q", seen)
		}
		logged := 0
		for _, l := range o.Logs {
			if l.Message == "handler failed" {
				logged++
			}
		}
		if logged != 3 {
			t.Errorf("%v", o.Logs)
		}
	})
}

// A snooze counts no attempt.
func TestCallSnoozes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		o := bustest.Call(t, func(context.Context, order) error {
			if n++; n < 3 {
				return bus.Snooze(time.Minute)
			}
			return nil
		}, order{})
		requireText(t, o.String(), "handled\n  attempt 1: snooze for 1m0s\n  attempt 1: snooze for 1m0s\n  attempt 1: <nil>")
	})
}

func TestCallGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requireContains(t, failure(t, func(t testing.TB) {
			// No attempt is due at the very moment at which Call gives up.
			bustest.Call(t, func(context.Context, order) error { return bus.Snooze(7 * time.Second) }, order{}, bustest.Within(time.Minute))
		}), "not idle after 1m0s", "call/handler: accepted 1 ", "deferred 1")
	})
}

func TestCallRefuses(t *testing.T) {
	h := func(context.Context, order) error { return nil }
	for want, opt := range map[string]bustest.CallOption{
		"OnTopic gives a bus.TopicConfig[github.com/shardbus/shardbus/bustest_test.invoice], and the event is a bustest_test.order": bustest.OnTopic(invoices),
		"invalid name": bustest.OnTopic(bus.TopicConfig[order]{Name: "no name"}),
		"Lanes is 0":   bustest.Subscribed(bus.Lanes(0)),
	} {
		requireContains(t, failure(t, func(t testing.TB) { bustest.Call(t, h, order{}, opt) }), want)
	}
	requireContains(t, failure(t, func(t testing.TB) { bustest.Call(t, h, order{}, nil) }), "option 0 of Call is nil")
	requireContains(t, failure(t, func(t testing.TB) { bustest.Call[order](t, nil, order{}) }), "handler is nil")
	requireContains(t, failure(t, func(t testing.TB) {
		bustest.Call(t, func(context.Context, chan int) error { return nil }, make(chan int))
	}), "nothing was published")
}

func TestDelivery(t *testing.T) {
	d := bustest.Delivery(t, orders, order{ID: "a", Cents: 3},
		bustest.PublishedWith(bus.ID("o-1"), bus.Header("tenant", "x")), bustest.OnAttempt(2), bustest.DeliveredTo("billing"))
	if !d.Encoded() || d.ID().String() != "o-1" || d.Key() != "a" || d.Headers().Get("tenant") != "x" || d.Attempt() != 2 ||
		d.Subscription() != "billing" || d.Topic() != "orders" || d.Time().IsZero() || d.Publisher() == "" ||
		d.ContentType() != codec.JSON.ContentType() {
		t.Errorf("%+v", d)
	}
	if p, ok := d.Payload(); !ok || string(p) != `{"ID":"a","Cents":3}` {
		t.Errorf("%s", p)
	}
	if _, ok := bus.Value[order](d); ok {
		t.Error("it is decoded")
	}
	m := must[bus.Message[order]](t)(bus.MessageOf[order](d))
	if m.Value != (order{"a", 3}) {
		t.Errorf("%+v", m)
	}
	if d := bustest.Delivery(t, invoices, invoice{}); d.ID().IsZero() || d.Key() != "" || d.Attempt() != 1 {
		t.Errorf("%+v", d)
	}
	requireContains(t, failure(t, func(t testing.TB) {
		bustest.Delivery(t, bus.TopicConfig[func()]{Name: "f"}, func() {})
	}), "an event of topic f: codec json")
}

// In process nothing is encoded, so an event may be anything.
func TestCallInProcess(t *testing.T) {
	done := make(chan string, 1)
	o := bustest.Call(t, func(_ context.Context, c chan string) error { c <- "handled"; return nil }, done, bustest.InProcess(),
		bustest.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if d.Encoded() || !d.Time().IsZero() {
					t.Errorf("encoded %v, time %v", d.Encoded(), d.Time())
				}
				return next(ctx, d)
			}
		}))
	if !o.Handled() || <-done != "handled" {
		t.Error(o)
	}
}
