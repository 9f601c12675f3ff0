package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport"
)

// look is a middleware that says how the event looks at its place.
func look(say func(string)) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			payload, _ := d.Payload()
			v, ok := bus.Value[job](d)
			what := fmt.Sprintf("encoded=%v payload=%s", d.Encoded(), payload)
			if ok {
				what += fmt.Sprintf(" value=%v", *v)
			}
			say(what)
			return next(ctx, d)
		}
	}
}

// Bytes outside, the value inside, in each attempt.
func TestCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var outside, inside []string
		o := bustest.Call(t, func(context.Context, job) error {
			if len(inside) == 1 {
				return errBroken
			}
			return nil
		}, job{"k", 1}, bustest.Use(
			middleware.Retry(middleware.RetryConfig{}),
			look(func(s string) { outside = append(outside, s) }),
			middleware.Codec(nil),
			look(func(s string) { inside = append(inside, s) })))
		if !o.Handled() {
			t.Error(o)
		}
		const bytes = `payload={"Key":"k","N":1}`
		for i := range 2 {
			if want := "encoded=true " + bytes; len(outside) != 2 || outside[i] != want {
				t.Errorf("outside Codec: %q, want twice %q", outside, want)
			}
			if want := "encoded=false " + bytes + " value={k 1}"; len(inside) != 2 || inside[i] != want {
				t.Errorf("inside Codec: %q, want twice %q", inside, want)
			}
		}
	})
}

// An in-process value never was encoded, and no codec touches it.
func TestCodecLeavesValues(t *testing.T) {
	b, topic := newTopic(t, bus.Config{})
	var outside []string
	var got job
	sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error { got = m.Value; return nil },
		bus.Use(look(func(s string) { outside = append(outside, s) }), middleware.Codec(panicCodec{codec.JSON})))
	publish(t, topic, job{"k", 1})
	shutdown(t, b, sub)
	if len(outside) != 1 || outside[0] != "encoded=false payload= value={k 1}" || got != (job{"k", 1}) {
		t.Errorf("outside Codec: %q; handled %v", outside, got)
	}
}

// upper is JSON in capitals.
type upper struct{ codec.Codec }

func (upper) Name() string { return "upper" }

func (c upper) Decode(b []byte, v any) error {
	return c.Codec.Decode([]byte(strings.ToLower(string(b))), v)
}

func TestCodecOfItsOwn(t *testing.T) {
	b, topic := newFake(t)
	sub := subscribe(t, topic, func(context.Context, bus.Message[job]) error { return nil },
		bus.Use(middleware.Codec(upper{codec.JSON}), middleware.Codec(panicCodec{}))) // a second has nothing to do
	b.Poison("jobs", []byte(`{"KEY":"SHOUT","N":3}`))
	bustest.WaitHandled(t, sub, 1)
	bustest.RequireHandled(t, b, jobs, "worker", bustest.Value(job{"shout", 3}))
}

// panicCodec breaks the contract of codecs.
type panicCodec struct{ codec.Codec }

func (panicCodec) Decode([]byte, any) error { panic("codec") }

// What can't be decoded is a dead letter after one attempt, with its bytes.
func TestCodecFailure(t *testing.T) {
	for name, tc := range map[string]struct {
		c    codec.Codec
		want string
	}{
		"error": {nil, "codec json: decode middleware_test.job"},
		"panic": {panicCodec{codec.JSON}, "panic: codec"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, topic := newFake(t)
				var outside spy
				subscribe(t, topic, func(context.Context, bus.Message[job]) error { t.Error("it was handled"); return nil },
					bus.Use(outside.middleware, middleware.Retry(middleware.RetryConfig{InitialDelay: time.Hour}), middleware.Codec(tc.c)))
				b.Poison("jobs", []byte(`{"Key":`))
				begin := time.Now()
				l := bustest.WaitDeadLettered(t, b, jobs, "worker")
				bustest.WaitIdle(t, b)
				if errs := outside.seen(); len(errs) != 1 || l.Attempts != 1 || time.Since(begin) != 0 {
					t.Errorf("after %v further out is seen %v", time.Since(begin), errs)
				}
				if !strings.Contains(l.Err.Error(), tc.want) {
					t.Errorf("the dead letter says %v", l.Err)
				}
				var pe *bus.PanicError
				if tc.c != nil && (!errors.As(l.Err, &pe) || len(l.Stack) == 0) {
					t.Errorf("no stack of %v", l.Err)
				}
				if string(l.Payload) != `{"Key":` {
					t.Errorf("the dead letter holds %q", l.Payload)
				}
			})
		})
	}
}

func BenchmarkCodec(b *testing.B) {
	b.Run("in-process", func(b *testing.B) { benchmarkChain(b, delivery(), middleware.Codec(nil)) })
	b.Run("decoded", func(b *testing.B) {
		benchmarkChain(b, bustest.EnvelopeDelivery(jobs, &transport.Envelope{Payload: []byte("{}")}), middleware.Codec(nil))
	})
}
