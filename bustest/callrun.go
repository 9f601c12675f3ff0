package bustest

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/errguard"
)

// handlerName is the subscription of a call.
const handlerName = "handler"

// callRun is one call of Call, CallBatch or CallActor: a bus with one topic.
type callRun[T any] struct {
	call
	t     testing.TB
	name  string // of the function
	bus   *Bus
	cfg   bus.TopicConfig[T]
	topic *bus.Topic[T]
	log   *zap.Logger
	logs  *observer.ObservedLogs
}

// begin makes the bus. takes is the option with the subscription's options.
func begin[T any](t testing.TB, name, takes string, opts []CallOption) *callRun[T] {
	t.Helper()
	c := &callRun[T]{t: t, name: name, call: call{topic: bus.TopicConfig[T]{Name: "call"}}}
	for i, opt := range opts {
		if opt == nil {
			t.Fatalf("bustest: option %d of %s is nil", i, name)
		}
		opt.applyCall(&c.call)
	}
	for option, n := range map[string]int{
		"Subscribed": len(c.subscribe), "SubscribedBatch": len(c.subscribeBatch), "Spawned": len(c.spawn),
	} {
		if n > 0 && option != takes {
			t.Fatalf("bustest: %s takes the option %s, and was given %s", name, takes, option)
		}
	}
	cfg, ok := c.call.topic.(bus.TopicConfig[T])
	if !ok {
		t.Fatalf("bustest: OnTopic gives a %T, and the event is a %T", c.call.topic, *new(T))
	}
	core, logs := observer.New(zapcore.DebugLevel)
	c.cfg, c.log, c.logs = cfg, zap.New(core), logs
	c.bus = New(t, append(c.call.bus, AllowDeadLetters(), WaitTimeout(c.waitTimeout), Config(bus.Config{Logger: c.log}))...)
	topic, err := bus.NewTopic(c.bus.Bus, cfg)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	c.topic = topic
	return c
}

// end closes the bus.
func (c *callRun[T]) end() {
	c.t.Helper()
	if err := c.bus.Close(); err != nil {
		c.t.Errorf("bustest: %v", err)
	}
}

// middleware is that of Use and UseWith.
func (c *callRun[T]) middleware() (all []bus.Middleware) {
	for _, f := range c.use {
		all = append(all, f(c.log)...)
	}
	return all
}

// publishAll publishes events in one batch.
func (c *callRun[T]) publishAll(events []T) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), c.bus.waitTimeout())
	defer cancel()
	if err := c.topic.PublishBatch(ctx, events, c.publish...); err != nil {
		c.t.Fatalf("bustest: %v", err)
	}
}

// index finds the place of an event by its ID.
func (c *callRun[T]) index(n int) map[string]int {
	c.t.Helper()
	index := make(map[string]int, n)
	for i, p := range c.bus.published.on(c.cfg.Name) {
		id := delivery(p, c.cfg).ID().String()
		if _, twice := index[id]; twice && i < n {
			c.t.Fatalf("bustest: %s needs events with IDs of their own, and two have %q: leave bus.ID out of PublishedWith", c.name, id)
		}
		if i < n {
			index[id] = i
		}
	}
	return index
}

// outcomes is what became of the first n events.
func (c *callRun[T]) outcomes(sub *bus.Subscription, n int) []Outcome {
	c.t.Helper()
	index, all := c.index(n), make([]Outcome, n)
	stats, logs := sub.Stats(), c.logs.All()
	for i := range all {
		all[i].Stats, all[i].Logs = stats, logs
	}
	for _, a := range c.bus.attemptsAt(c.cfg.Name, handlerName) {
		if i, ok := index[a.d.ID().String()]; ok {
			all[i].Attempts = append(all[i].Attempts, Attempt{Number: a.d.Attempt(), Err: a.err, Began: a.began, Took: a.took})
		}
	}
	for _, l := range sub.DeadLetters() {
		if i, ok := index[l.Delivery.ID().String()]; ok {
			all[i].Letter = &l
		}
	}
	for i := range all {
		all[i].classify(sub.Err())
	}
	return all
}

// classify finds what became of the event. ended is why its subscription has.
func (o *Outcome) classify(ended error) {
	switch n := len(o.Attempts); {
	case o.Letter != nil:
		o.Action, o.Err = bus.ActionDeadLetter, o.Letter.Err
		return
	case n == 0:
		o.Err = ErrNotHandled
	case o.Attempts[n-1].Err == nil:
		return
	default:
		o.Err = o.Attempts[n-1].Err
		v, decided := bus.VerdictOf(o.Err)
		switch {
		case !decided: // one of so many dead letters that it was not kept
			o.Action = bus.ActionDeadLetter
			return
		case v.Action == bus.ActionDiscard, v.Action == bus.ActionDeadLetter:
			o.Action, o.Err = v.Action, errguard.Safe(v.Err)
			return
		}
		o.Err = fmt.Errorf("%w: %w", ErrNotHandled, o.Err) // its next attempt never came
	}
	if ended != nil {
		o.Err = fmt.Errorf("%w: %w", o.Err, ended)
	}
}
