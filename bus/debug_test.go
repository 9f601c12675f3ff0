package bus_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport/memory"
)

// parcel is an event that points to something.
type parcel struct {
	Name  string
	Items []int
}

// debugged has a handler, which may be nil, handle one parcel on a bus with Debug, with
// and without a transport, and returns what was reported of each.
func debugged(t *testing.T, h func(context.Context, parcel) error, use ...bus.Middleware) (inProcess, remote []string) {
	t.Helper()
	if h == nil {
		h = func(context.Context, parcel) error { return nil }
	}
	run := func(cfg bus.Config) []string {
		core, logs := observer.New(zap.ErrorLevel)
		cfg.Debug, cfg.Logger = true, zap.New(core)
		synctest.Test(t, func(t *testing.T) {
			b, err := bus.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			topic, err := bus.NewTopic(b, bus.TopicConfig[parcel]{Name: "parcels"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := topic.Subscribe(t.Context(), "ship", h, bus.Use(use...)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // one place is reported once
				if err := topic.Publish(t.Context(), parcel{"a", []int{1, 2}}, bus.Header("colour", "red")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute) // retries, and goroutines that were left behind
			if err := b.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		var reports []string
		for _, entry := range logs.FilterMessage("misuse").All() {
			fields := entry.ContextMap()
			if fields["topic"] != "parcels" || fields["subscription"] != "ship" {
				t.Errorf("the report does not say where: %v", fields)
			}
			reports = append(reports, fields["misuse"].(string))
		}
		slices.Sort(reports)
		return reports
	}
	return run(bus.Config{}), run(bus.Config{Transport: memory.NewBroker().Connect()})
}

// around is a middleware that does f.
func around(f func(ctx context.Context, d *bus.Delivery, next bus.Handler) error) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error { return f(ctx, d, next) }
	}
}

func TestDebugReports(t *testing.T) {
	var kept *bus.Delivery
	for name, tc := range map[string]struct {
		handler func(context.Context, parcel) error
		use     bus.Middleware
		says    []string // each in one report
		remote  bool     // nothing to find in-process
	}{
		"a Delivery used after its attempt": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				if kept != nil && kept != d {
					kept.ID()
				}
				kept = d
				return next(ctx, d)
			}),
			says: []string{"debug_test.go:", "used Delivery.ID after the attempt at event "},
		},
		"a value used after its attempt": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				go func() {
					time.Sleep(time.Second)
					bus.Value[parcel](d)
				}()
				return next(ctx, d)
			}),
			says: []string{"used bus.Value after the attempt"},
		},
		"a Delivery used on another goroutine": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				done := make(chan bus.MessageID)
				go func() { done <- d.ID() }()
				<-done
				return next(ctx, d)
			}),
			says: []string{"used Delivery.ID on another goroutine"},
		},
		"next called twice": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				return errors.Join(next(ctx, d), next(ctx, d))
			}),
			says: []string{"middleware bus_test.", "called next twice in one attempt"},
		},
		"next called too late": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				d, handled := d.Clone(), next(ctx, d)
				go func() {
					time.Sleep(time.Second)
					_ = next(ctx, d) // which nobody is told of
				}()
				return handled
			}),
			says: []string{"called next after it had returned"},
		},
		"next called on another goroutine": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				done := make(chan error)
				own := d.Clone()
				go func() { done <- next(ctx, own) }()
				return <-done
			}),
			says: []string{"called next on another goroutine"},
		},
		"next never called": {
			use:  around(func(context.Context, *bus.Delivery, bus.Handler) error { return nil }),
			says: []string{"returned nil and has not called next", "bus.Discard"},
		},
		"an event changed by its handler": {
			handler: func(_ context.Context, p parcel) error { p.Items[1]++; return nil },
			says:    []string{"handler bus_test.TestDebugReports", "changed the value of event"},
		},
		"an event changed by a handler that panics": {
			handler: func(_ context.Context, p parcel) error { p.Items[1]++; panic("no") },
			says:    []string{"changed the value of event"},
		},
		"an event changed by middleware before the handler": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				if err := d.Decode(nil); err != nil {
					return err
				}
				p, _ := bus.Value[parcel](d)
				p.Name = "b"
				return next(ctx, d)
			}),
			says: []string{"middleware bus_test.", "changed the value of event"},
		},
		"an event changed by middleware after the handler": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				err := next(ctx, d)
				p, _ := bus.Value[parcel](d)
				p.Items[0] = 7
				return err
			}),
			says: []string{"middleware bus_test.", "changed the value of event"},
		},
		"a payload changed": {
			use: around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				err := next(ctx, d)
				if p, ok := d.Payload(); ok {
					p[0] = ' '
				}
				return err
			}),
			says:   []string{"changed the payload of event"},
			remote: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			kept = nil
			var use []bus.Middleware
			if tc.use != nil {
				use = []bus.Middleware{middleware.Retry(middleware.RetryConfig{MaxAttempts: 1}), tc.use}
			}
			inProcess, remote := debugged(t, tc.handler, use...)
			check := func(where string, reports []string, none bool) {
				t.Helper()
				if none && len(reports) == 0 {
					return
				}
				if len(reports) != 1 || none {
					t.Fatalf("%s there are %d reports:\n%s", where, len(reports), strings.Join(reports, "\n"))
				}
				for _, text := range tc.says {
					if !strings.Contains(reports[0], text) {
						t.Errorf("%s the report is %q, and should say %q", where, reports[0], text)
					}
				}
			}
			check("in-process", inProcess, tc.remote)
			check("off a transport", remote, false)
		})
	}
}

// What middleware may do is not reported.
func TestDebugLetsLegalUseBe(t *testing.T) {
	errBusy := errors.New("busy")
	attempts := 0
	kept := make(chan *bus.Delivery, 10)
	for name, tc := range map[string]struct {
		handler func(context.Context, parcel) error
		use     []bus.Middleware
	}{
		"none": {},
		"all of ours": {use: []bus.Middleware{
			middleware.Logging(zap.NewNop(), middleware.LoggingConfig{Successes: true}),
			middleware.Retry(middleware.RetryConfig{}),
			middleware.Dedup(middleware.DedupConfig{}),
			middleware.Codec(nil),
			middleware.Timeout(time.Second),
		}, handler: func(context.Context, parcel) error {
			if attempts++; attempts%3 != 0 {
				return errBusy
			}
			return nil
		}},
		"a duplicate": {use: []bus.Middleware{
			middleware.Dedup(middleware.DedupConfig{Key: func(*bus.Delivery) string { return "one" }}),
		}},
		"a time-out": {
			use:     []bus.Middleware{middleware.Timeout(time.Second)},
			handler: func(ctx context.Context, _ parcel) error { <-ctx.Done(); return context.Cause(ctx) },
		},
		"a discard": {use: []bus.Middleware{around(func(context.Context, *bus.Delivery, bus.Handler) error {
			return bus.Discard(errBusy)
		})}},
		"an error without next": {use: []bus.Middleware{around(func(context.Context, *bus.Delivery, bus.Handler) error {
			return errBusy
		})}},
		"a panic without next": {use: []bus.Middleware{around(func(context.Context, *bus.Delivery, bus.Handler) error {
			panic("no")
		})}},
		"Goexit": {handler: func(context.Context, parcel) error { runtime.Goexit(); return nil }},
		"an error made none": {
			use: []bus.Middleware{around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
				_ = next(ctx, d) // it is no loss
				return nil
			})},
			handler: func(context.Context, parcel) error { return errBusy },
		},
		"a Delivery and a context of one's own": {use: []bus.Middleware{around(func(_ context.Context, _ *bus.Delivery, next bus.Handler) error {
			return next(context.Background(), bustest.TypedDelivery(bus.TopicConfig[parcel]{Name: "parcels"}, parcel{"b", nil}))
		})}},
		"a clone that is kept": {use: []bus.Middleware{around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
			own := d.Clone()
			kept <- own
			go own.ID()
			return next(ctx, d)
		})}},
		"a copy that is changed": {handler: func(_ context.Context, p parcel) error {
			p.Name, p.Items = "b", append(slices.Clone(p.Items), 3)
			p.Items[0] = 5
			return nil
		}},
		"a deep stack": {use: []bus.Middleware{around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
			var deep func(n int) error
			deep = func(n int) error {
				if n == 0 {
					d.ID()
					return next(ctx, d)
				}
				return deep(n - 1)
			}
			return deep(300)
		})}},
	} {
		t.Run(name, func(t *testing.T) {
			inProcess, remote := debugged(t, tc.handler, tc.use...)
			for _, report := range slices.Concat(inProcess, remote) {
				t.Error(report)
			}
		})
	}
	for d := range len(kept) {
		if p, ok := bus.Value[parcel](<-kept); ok && p.Name != "a" {
			t.Errorf("clone %d is %v", d, p)
		}
	}
}

// Batches, actors and requests work as they do without Debug.
func TestDebugOfOtherSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.ErrorLevel)
		b, err := bus.New(bus.Config{Debug: true, Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		topic, err := bus.NewTopic(b, bus.TopicConfig[parcel]{Name: "parcels", Key: func(p parcel) string { return p.Name }})
		if err != nil {
			t.Fatal(err)
		}
		passes := around(func(ctx context.Context, d *bus.Delivery, next bus.Handler) error { return next(ctx, d) })
		var got list[string]
		for name, opts := range map[string][]bus.Option{"plain": nil, "wrapped": {bus.Use(passes)}} {
			own := make([]bus.BatchOption, len(opts))
			actor := make([]bus.ActorOption, len(opts))
			for i := range opts {
				own[i], actor[i] = opts[i], opts[i]
			}
			if _, err := topic.SubscribeBatch(t.Context(), "batch-"+name, func(_ context.Context, batch []bus.Message[parcel]) error {
				for _, m := range batch {
					got.add("batch-" + name + " " + m.Value.Name)
				}
				return nil
			}, own...); err != nil {
				t.Fatal(err)
			}
			if _, err := topic.Spawn(t.Context(), "actor-"+name, func(_ context.Context, key string) (bus.Actor[parcel], error) {
				return bus.Actor[parcel]{Handle: func(_ context.Context, p parcel) error {
					got.add("actor-" + name + " " + p.Name)
					return nil
				}}, nil
			}, actor...); err != nil {
				t.Fatal(err)
			}
		}
		squares, err := bus.NewTopic(b, bus.TopicConfig[bus.Request[int, int]]{Name: "squares"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := squares.Subscribe(t.Context(), "answer", bus.Answer(func(_ context.Context, q int) (int, error) { return q * q, nil })); err != nil {
			t.Fatal(err)
		}
		if err := topic.PublishBatch(t.Context(), []parcel{{"a", []int{1}}, {"b", nil}}); err != nil {
			t.Fatal(err)
		}
		if n, err := bus.Ask(t.Context(), squares, 7); n != 49 || err != nil {
			t.Errorf("the square of 7 is %d: %v", n, err)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(got.get()); n != 8 {
			t.Errorf("%d events were handled, not 8: %q", n, got.get())
		}
		for _, entry := range logs.All() {
			t.Error(entry.Message, entry.ContextMap())
		}
	})
}
