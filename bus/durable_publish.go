package bus

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/shardbus/shardbus/bus/internal/appender"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// This file is how events of a durable topic get into the log.

// appendOne is Publish of a durable topic.
func (t *Topic[T]) appendOne(ctx context.Context, event T, opts []PublishOption) error {
	p := t.publication(1, opts)
	p.events[0].value = &event
	return t.publishAll(ctx, p)
}

// appendPublication appends events of p to the log, those of each partition in one batch. Events that
// can't be encoded don't hold up the rest.
func (t *Topic[T]) appendPublication(ctx context.Context, p *Publication, pending []int) {
	err := t.beginAppend(ctx)
	if err == nil {
		defer t.endAppend()
		err = t.openTopic(ctx)
	}
	if err != nil {
		for _, i := range pending {
			p.events[i].err = t.appendError(err)
		}
		return
	}
	parts := t.encodeParts(p, pending)
	if len(parts) == 1 {
		t.appendPart(ctx, p, &parts[0])
		return
	}
	var appending sync.WaitGroup
	for j := range parts {
		appending.Go(func() { t.appendPart(ctx, p, &parts[j]) })
	}
	appending.Wait()
}

// encodeParts encodes events of p, by partition. An event that can't be encoded is left out and has its error.
func (t *Topic[T]) encodeParts(p *Publication, pending []int) (parts []part) {
	for _, i := range pending {
		e := &p.events[i]
		env, err := t.encode(e.value.(*T), &publishOptions{id: e.id, headers: e.headers})
		if err != nil {
			e.err = t.appendError(err)
			continue
		}
		if !e.at.IsZero() {
			env.Time = e.at
		}
		j := slices.IndexFunc(parts, func(p part) bool { return p.partition == env.Partition })
		if j < 0 {
			j = len(parts)
			parts = append(parts, part{partition: env.Partition})
		}
		parts[j].index = append(parts[j].index, i)
		parts[j].events = append(parts[j].events, appender.Event{Envelope: env, Due: e.due, UserID: e.id != ""})
	}
	return parts
}

// part is the events of a publication that go to one partition.
type part struct {
	partition int
	index     []int // of each in the publication
	events    []appender.Event
}

func (t *Topic[T]) appendPart(ctx context.Context, p *Publication, part *part) {
	var one [1]appender.Result
	results := one[:]
	if len(part.events) > 1 {
		results = make([]appender.Result, len(part.events))
	}
	t.bus.durable.appender.Append(ctx, t.info.name, part.partition, part.events, results)
	for j, i := range part.index {
		e, r := &p.events[i], &results[j]
		e.err = t.appendError(r.Err)
		e.published, e.repeated = e.err == nil, e.repeated || r.Repeated
		e.partition, e.offset, e.duplicate = part.partition, r.Offset, r.Duplicate
	}
}

// beginAppend admits a Publish, for which Shutdown waits; it refuses what is published while the bus takes
// nothing. endAppend must follow where it returns nil.
func (t *Topic[T]) beginAppend(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	p := caller{ctx: ctx}
	fan := &t.fanout
	fan.mu.Lock()
	for fan.refuses(&p) {
		fan.mu.Unlock()
		if err := fan.admit(&p); err != nil {
			return err
		}
		fan.mu.Lock()
	}
	t.feeds().publishing++
	fan.mu.Unlock()
	return nil
}

// endAppend says that a Publish returns.
func (t *Topic[T]) endAppend() {
	fan := &t.fanout
	fan.mu.Lock()
	t.feeds().publishing--
	fan.mu.Unlock()
	t.bus.changes.Notify()
}

func (t *Topic[T]) appendError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errguard.As[*Error](err); ok && e.Op == "publish" {
		return err
	}
	if errguard.Is(err, transport.ErrClosed) {
		err = errors.Join(ErrClosed, err)
	}
	return &Error{Op: "publish", Topic: t.info.name, Err: errguard.Safe(err)}
}
