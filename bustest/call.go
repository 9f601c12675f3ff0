package bustest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
)

// CallOption configures one [Call].
type CallOption interface{ applyCall(*call) }

type callOption func(*call)

func (f callOption) applyCall(c *call) { f(c) }

type call struct {
	bus         []Option
	topic       any // a bus.TopicConfig[T]
	use         []func(*zap.Logger) []bus.Middleware
	subscribe   []bus.SubscribeOption
	publish     []bus.PublishOption
	waitTimeout time.Duration
}

// Use puts middleware around the handler, the first outermost.
func Use(middleware ...bus.Middleware) CallOption {
	return UseWith(func(*zap.Logger) []bus.Middleware { return middleware })
}

// UseWith puts middleware around the handler that logs to the given logger. The Outcome has the
// lines.
func UseWith(f func(*zap.Logger) []bus.Middleware) CallOption {
	return callOption(func(c *call) { c.use = append(c.use, f) })
}

// OnTopic gives the event its topic, of the event's type, with key and codec. Default: a topic
// named "call".
func OnTopic[T any](topic bus.TopicConfig[T]) CallOption {
	return callOption(func(c *call) { c.topic = topic })
}

// Subscribed subscribes the handler with options: lanes, budgets, middleware.
func Subscribed(opts ...bus.SubscribeOption) CallOption {
	return callOption(func(c *call) { c.subscribe = append(c.subscribe, opts...) })
}

// PublishedWith publishes the event with options: an ID, headers.
func PublishedWith(opts ...bus.PublishOption) CallOption {
	return callOption(func(c *call) { c.publish = append(c.publish, opts...) })
}

// Within bounds the call, retries included; after that the test fails. Default as for
// [WaitTimeout].
func Within(d time.Duration) CallOption {
	return callOption(func(c *call) { c.waitTimeout = d })
}

// Outcome is what became of an event.
type Outcome struct {
	// Action is 0 if the event was acknowledged, ActionDeadLetter or ActionDiscard if it was given
	// up.
	Action bus.Action
	// Err is why it was given up; nil if it was acknowledged.
	Err error
	// Attempts are all attempts, in order. There is at least one.
	Attempts []Attempt
	// Letter is the dead letter; nil if the event is none.
	Letter *bus.Letter
	// Logs is what the bus, and middleware of UseWith, logged.
	Logs []observer.LoggedEntry
	// Stats is the subscription's ledger: one event was accepted, and it is settled.
	Stats bus.Stats
}

// Attempt is one run of the chain.
type Attempt struct {
	// Number is what Delivery.Attempt returned: a snooze does not count.
	Number int
	// Err is what the outermost middleware returned, mostly a verdict. nil acknowledged the event.
	Err error
	// Began is when it began, and Took how long it ran.
	Began time.Time
	Took  time.Duration
}

// Verdict returns the verdict on the attempt, and whether there was one. An error without a verdict
// is a dead letter, nil an acknowledgement.
func (a Attempt) Verdict() (*bus.Verdict, bool) { return bus.VerdictOf(a.Err) }

// Handled reports whether the event was acknowledged.
func (o Outcome) Handled() bool { return o.Action == 0 }

// String shows the outcome in one line, and each attempt in one more.
func (o Outcome) String() string {
	var text strings.Builder
	if o.Handled() {
		text.WriteString("handled")
	} else {
		fmt.Fprintf(&text, "%v: %v", o.Action, o.Err)
	}
	for _, a := range o.Attempts {
		fmt.Fprintf(&text, "\n  attempt %d: %v", a.Number, a.Err)
	}
	return text.String()
}

// Call publishes one event on a bus of its own and runs it through the real chain: encoded and
// decoded, the middleware, the handler, and each further attempt that a verdict asks for, at its
// time. It returns when the outcome is final. In a synctest bubble back-off takes no time.
func Call[T any](t testing.TB, h func(ctx context.Context, event T) error, event T, opts ...CallOption) Outcome {
	t.Helper()
	c := call{topic: bus.TopicConfig[T]{Name: "call"}}
	for i, opt := range opts {
		if opt == nil {
			t.Fatalf("bustest: option %d of Call is nil", i)
		}
		opt.applyCall(&c)
	}
	cfg, ok := c.topic.(bus.TopicConfig[T])
	if !ok {
		t.Fatalf("bustest: OnTopic gives a %T, and the event is a %T", c.topic, event)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	b := New(t, append(c.bus, AllowDeadLetters(), WaitTimeout(c.waitTimeout), Config(bus.Config{Logger: logger}))...)
	defer func() {
		if err := b.Close(); err != nil {
			t.Errorf("bustest: %v", err)
		}
	}()
	for _, f := range c.use {
		c.subscribe = append(c.subscribe, bus.Use(f(logger)...))
	}
	topic, err := bus.NewTopic(b.Bus, cfg)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	sub, err := topic.Subscribe(t.Context(), "handler", h, c.subscribe...)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	if err := topic.Publish(t.Context(), event, c.publish...); err != nil {
		t.Fatalf("bustest: %v", err)
	}
	WaitIdle(t, b)
	o := Outcome{Stats: sub.Stats(), Logs: logs.All()}
	for _, a := range b.attemptsAt(cfg.Name, "handler") {
		o.Attempts = append(o.Attempts, Attempt{Number: a.d.Attempt(), Err: a.err, Began: a.began, Took: a.took})
	}
	o.classify(sub)
	return o
}

// classify finds what became of the event in the ledger.
func (o *Outcome) classify(sub *bus.Subscription) {
	switch {
	case o.Stats.DeadLettered > 0:
		o.Action = bus.ActionDeadLetter
		for _, l := range sub.DeadLetters() {
			o.Letter, o.Err = &l, l.Err
		}
	case o.Stats.Discarded > 0:
		o.Action = bus.ActionDiscard
		if n := len(o.Attempts); n > 0 {
			o.Err = o.Attempts[n-1].Err
			if v, ok := bus.VerdictOf(o.Err); ok {
				o.Err = errguard.Safe(v.Err)
			}
		}
	}
}
