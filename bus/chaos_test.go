package bus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// This file is the kinds of subscription that the ledger test runs.

// subscribe makes a subscription of c's kind and adds it to subs.
func (c chaos) subscribe(topic *bus.Topic[job], r *record, subs *list[*bus.Subscription], name string) (err error) {
	use := bus.Use()
	if c.middleware {
		use = bus.Use(passThrough, passThrough)
	}
	opts := []bus.Option{
		bus.Lanes(c.lanes), bus.Mailbox(c.capacity, c.policy), bus.MaxDeferred(c.maxDeferred), bus.PanicBudget(1<<20, time.Hour), use,
	}
	ctx := context.Background()
	one := func(ctx context.Context, j job) error { return c.handle(ctx, r, j) }
	var sub *bus.Subscription
	switch {
	case c.kind == "actors":
		all := []bus.ActorOption{bus.IdleTimeout(time.Duration(1+r.roll(20)) * time.Millisecond), bus.MaxActors(1 + r.roll(10))}
		for _, o := range opts {
			all = append(all, o)
		}
		sub, err = topic.Spawn(ctx, name, func(context.Context, string) (bus.Actor[job], error) {
			return bus.Actor[job]{Handle: one}, nil
		}, all...)
	case c.batches():
		all := []bus.BatchOption{
			bus.BatchSize(1 + r.roll(min(c.capacity, c.maxDeferred, 20))), bus.BatchLinger(time.Duration(max(0, r.roll(10)-5)) * time.Millisecond),
		}
		for _, o := range opts {
			all = append(all, o)
		}
		if c.grouped() {
			all = append(all, bus.Group("workers"))
		}
		sub, err = topic.SubscribeBatch(ctx, name, func(ctx context.Context, batch []bus.Message[job]) error {
			return c.handleBatch(ctx, r, batch)
		}, all...)
	default:
		var all []bus.SubscribeOption
		for _, o := range opts {
			all = append(all, o)
		}
		if c.grouped() {
			all = append(all, bus.Group("workers"))
		}
		sub, err = topic.Subscribe(ctx, name, one, all...)
	}
	if err == nil {
		subs.add(sub)
	}
	return err
}

// handleBatch does anything a batch handler may do: the whole batch ends in one way,
// or each event in its own, and those behind one that comes again are left alone.
func (c chaos) handleBatch(ctx context.Context, r *record, batch []bus.Message[job]) error {
	if c.incidents > 0 && r.roll(400) < c.incidents {
		after := time.Duration(r.roll(10)) * time.Millisecond
		settled := func() {
			for _, m := range batch {
				c.settle(r, m.Value)
			}
		}
		switch r.roll(6) {
		case 0:
			return bus.RetryAfter(after, errAgain)
		case 1:
			return bus.Snooze(after)
		case 2:
			settled()
			return bus.Discard(errAgain)
		case 3:
			settled()
			return bus.DeadLetter(errAgain)
		case 4:
			settled()
			return errAgain
		case 5:
			settled()
			panic("at the batch handler")
		}
	}
	failed := &bus.BatchError{Topic: "", Total: len(batch)}
	again := map[string]bool{}
	for i, m := range batch {
		if c.keys > 0 && again[m.Key] {
			continue
		}
		err := c.handleCalm(ctx, r, m.Value)
		if err == nil {
			continue
		}
		failed.Failed = append(failed.Failed, bus.IndexedError{Index: i, Err: err})
		v, decided := bus.VerdictOf(err)
		if decided && (v.Action == bus.ActionRetry || v.Action == bus.ActionSnooze) || !decided && c.middleware {
			again[m.Key] = true
		}
	}
	if len(failed.Failed) > 0 {
		return failed
	}
	return nil
}

// handleCalm is handle for an event of a batch: a panic of it is an error.
func (c chaos) handleCalm(ctx context.Context, r *record, j job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("recovered: %v", p)
		}
	}()
	return c.handle(ctx, r, j)
}
