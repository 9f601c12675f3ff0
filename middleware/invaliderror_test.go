package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// wild is an error whose methods do as they are told.
type wild struct{ text, unwrap, is func() }

func do(f func()) {
	if f != nil {
		f()
	}
}

func (w *wild) Error() string          { do(w.text); return "wild" }
func (w *wild) Unwrap() error          { do(w.unwrap); return nil }
func (w *wild) Is(error) bool          { do(w.is); return false }
func (w *wild) As(any) bool            { do(w.is); return false }
func panics()                          { panic("in a method") }
func returning(err error) func() error { return func() error { return err } }

// endless wraps another one, for ever.
type endless struct{ n int }

func (endless) Error() string   { return "endless" }
func (e endless) Unwrap() error { return endless{e.n + 1} }

// wildErrors are errors whose methods fail.
func wildErrors() map[string]func() error {
	var nilOp *net.OpError
	var nilWild *wild
	var nilVerdict *bus.Verdict
	circle := &bus.Verdict{}
	circle.Err = circle
	return map[string]func() error{
		"a typed nil":             returning(nilOp),
		"a typed nil, wrapped":    returning(fmt.Errorf("at: %w", nilOp)),
		"another typed nil":       returning(nilWild),
		"a typed nil of ours":     returning(nilVerdict),
		"Error panics":            returning(&wild{text: panics}),
		"Error ends":              returning(&wild{text: runtime.Goexit}),
		"Unwrap panics":           returning(&wild{unwrap: panics}),
		"Unwrap ends":             returning(&wild{unwrap: runtime.Goexit}),
		"Is and As panic":         returning(&wild{is: panics}),
		"Is and As end":           returning(&wild{is: runtime.Goexit}),
		"a chain without end":     returning(endless{}),
		"a panicking one, joined": returning(errors.Join(errors.New("first"), &wild{unwrap: panics})),
		"a circle of ours":        returning(fmt.Errorf("at: %w", &bus.Error{Err: circle.Err.(*bus.Verdict).Err.(*bus.Verdict).Err})),
	}
}

// What the methods of an error do harms nobody: its event fares as with an ordinary error, with any
// middleware, and the subscription goes on.
func TestErrorsWhoseMethodsFail(t *testing.T) {
	chains := map[string]func(*zap.Logger) []bus.Middleware{
		"none": func(*zap.Logger) []bus.Middleware { return nil },
		"retry": func(*zap.Logger) []bus.Middleware {
			return []bus.Middleware{middleware.Retry(middleware.RetryConfig{})}
		},
		"dedup": func(*zap.Logger) []bus.Middleware {
			return []bus.Middleware{middleware.Dedup(middleware.DedupConfig{})}
		},
		"timeout": func(*zap.Logger) []bus.Middleware { return []bus.Middleware{middleware.Timeout(time.Second)} },
		"logging": func(l *zap.Logger) []bus.Middleware {
			return []bus.Middleware{middleware.Logging(l, middleware.LoggingConfig{})}
		},
		"all": func(l *zap.Logger) []bus.Middleware {
			return []bus.Middleware{
				middleware.Logging(l, middleware.LoggingConfig{}), middleware.Dedup(middleware.DedupConfig{}),
				middleware.Retry(middleware.RetryConfig{}), middleware.Timeout(time.Second), middleware.Codec(nil),
			}
		},
		"a careless one": func(*zap.Logger) []bus.Middleware { return []bus.Middleware{careless} },
	}
	for what, wild := range wildErrors() {
		if what == "a circle of ours" {
			continue // it has a verdict; see below
		}
		for name, chain := range chains {
			for _, batches := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, batches %v", what, name, batches), func(t *testing.T) {
					want, _ := fare(t, chain, batches, returning(errors.New("ordinary")))
					got, letters := fare(t, chain, batches, wild)
					if got != want {
						t.Errorf("%v\nwith an ordinary error %v", got, want)
					}
					for _, l := range letters {
						var verdict *bus.Verdict
						if !errors.Is(l.Err, bus.ErrInvalidError) || errors.As(l.Err, &verdict) || l.Err.Error() == "" {
							t.Errorf("the letter's error: %v", l.Err)
						}
					}
				})
			}
		}
	}
}

// careless is a user's middleware that asks every error everything.
func careless(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		err := next(ctx, d)
		var other *net.DNSError
		if err != nil && (err.Error() == "" || errors.Is(err, net.ErrClosed) || errors.As(err, &other)) {
			return nil
		}
		return err
	}
}

// fare has an event fail with what f returns, and the next one handled.
func fare(t *testing.T, chain func(*zap.Logger) []bus.Middleware, batches bool, f func() error) (st bus.Stats, letters []bus.Letter) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		log := zap.New(core)
		b, topic := newTopic(t, bus.Config{Logger: log})
		handle := func(j job) error {
			if j.N == 1 {
				return f()
			}
			return nil
		}
		use := bus.Use(chain(log)...)
		var sub *bus.Subscription
		var err error
		if batches {
			sub, err = topic.SubscribeBatch(t.Context(), "worker", func(_ context.Context, batch []bus.Message[job]) error {
				failed := &bus.BatchError{}
				for i, m := range batch {
					if err := handle(m.Value); err != nil {
						failed.Failed = append(failed.Failed, bus.IndexedError{Index: i, Err: err})
					}
				}
				if len(failed.Failed) == 0 {
					return nil
				}
				return failed
			}, use, bus.PanicBudget(0, time.Hour))
		} else {
			sub, err = topic.Subscribe(t.Context(), "worker", func(_ context.Context, j job) error { return handle(j) },
				use, bus.PanicBudget(0, time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, job{Key: "a", N: 1})
		publish(t, topic, job{Key: "b", N: 2})
		time.Sleep(time.Hour) // all attempts
		letters = sub.DeadLetters()
		publish(t, topic, job{Key: "a", N: 3})
		shutdown(t, b, sub)
		st = sub.Stats()
		st.Handling, st.HighWater = bus.Histogram{}, 0
		for _, l := range logs.All() {
			for _, field := range l.Context {
				if strings.Contains(field.Key, "Error") { // zap's own complaint of an error
					t.Errorf("%s: %s %s", l.Message, field.Key, field.String)
				}
			}
		}
	})
	return st, letters
}

// A verdict stands, whatever its cause does, and so does one beside an error that fails.
func TestVerdictsOnErrorsWhoseMethodsFail(t *testing.T) {
	for what, wild := range wildErrors() {
		for name, err := range map[string]error{
			"around":  bus.Discard(wild()),
			"wrapped": fmt.Errorf("at: %w", bus.Discard(wild())),
			"before":  errors.Join(bus.Discard(nil), wild()),
		} {
			if v, ok := bus.VerdictOf(err); !ok || v.Action != bus.ActionDiscard {
				t.Errorf("%s %s: %v", name, what, v)
			}
			if text := bus.Discard(wild()).Error(); text == "" {
				t.Errorf("%s: no text", what)
			}
		}
		st, letters := fare(t, middleware.Default, false, returning(bus.Discard(wild())))
		if st.Discarded != 1 || st.Handled != 2 || st.Panicked != 0 || len(letters) > 0 {
			t.Errorf("%s: %v", what, st)
		}
		st, _ = fare(t, middleware.Default, false, returning(bus.DeadLetter(wild())))
		if st.DeadLettered != 1 || st.Handled != 2 || st.Failed != 1 || st.Panicked != 0 {
			t.Errorf("%s: %v", what, st)
		}
	}
}
