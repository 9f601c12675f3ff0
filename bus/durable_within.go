package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/transport"
)

// ErrSettled: an event was to be published within a message whose handler has returned.
var ErrSettled = errors.New("the message's handler has returned")

// ErrNotAtomic: an event can't be published within a message, because they are not kept in one log.
var ErrNotAtomic = transport.ErrNotAtomic

// Within publishes within m, the message that a handler is given: the events are in the log exactly if m is
// acknowledged, in one step with that. Publish returns nil when they are staged. What was staged is dropped
// where the handler fails, returns a verdict or panics; the next attempt stages anew. It is dropped, too,
// where the process ends, or another one takes the partition over, before the log was told: then m is
// handled again.
//
// Both topics are durable ones of the same bus; they may be the same. The events are of their topic in
// every way: publish middleware runs, they have IDs and offsets of their own, [At] and [After] delay them.
// They are visible some milliseconds after the handler has returned. Within [Topic.SubscribeBatch] each
// message of the batch takes along what was published within it. A handler may publish from goroutines of
// its own until it returns; behind middleware that is until the middleware has returned.
//
// Errors of Publish with it: ErrSettled when the handler has returned; ErrNotAtomic where the topic or m is
// not durable, or m is of another bus, or the log can't do it; ErrInvalidConfig together with [ReceiptTo],
// since the events have no offset yet. If the log finds, when m is acknowledged, that the topic was deleted
// from it, m becomes a dead letter.
func Within[T any](m Message[T]) PublishOption {
	return PublishOption{kind: optionWithin, event: m.event, start: m.start}
}

// within is what the option says.
type within struct {
	given bool
	start uint32 // which attempt at event it is
	event *consumer.Event
}

// publishWithin has p staged.
func (t *Topic[T]) publishWithin(p *Publication, o *publishOptions) {
	w := o.within
	fail := func(err error, detail string) {
		p.invalid = &Error{Op: "publish", Topic: t.info.name, Err: err, Detail: detail + "; nothing was published"}
	}
	switch {
	case p.receipt != nil:
		fail(ErrInvalidConfig, "ReceiptTo was given with Within: events have no offset before their message is acknowledged")
	case w.event == nil:
		fail(ErrNotAtomic, "the message of Within is not one of a durable topic")
	case !w.event.Of(t.bus.durable.reader):
		fail(ErrNotAtomic, "the message of Within was read by another bus, or out of the dead letters")
	case !t.bus.durable.caps.Within:
		fail(ErrNotAtomic, fmt.Sprintf("the log %q can't do it", t.bus.durable.caps.Name))
	default:
		p.publish = func(ctx context.Context, p *Publication, pending []int) { t.stage(ctx, p, pending, w) }
	}
}

// stage stages events of p: those that can't be encoded don't hold up the rest.
func (t *Topic[T]) stage(ctx context.Context, p *Publication, pending []int, w within) {
	err := t.mayAskLog(ctx)
	if err == nil {
		err = t.openTopic(ctx)
	}
	if err != nil {
		for _, i := range pending {
			p.events[i].err = t.appendError(err)
		}
		return
	}
	parts := t.encodeParts(p, pending)
	batches := make([]transport.Batch, 0, len(parts))
	for j := range parts {
		if b := t.stagedBatch(p, &parts[j]); len(b.Envelopes) > 0 {
			batches = append(batches, b)
		}
	}
	if !w.event.Stage(w.start, batches) {
		err = t.appendError(ErrSettled)
	}
	for j := range parts {
		for _, i := range parts[j].index {
			p.events[i].err, p.events[i].published = err, err == nil
		}
	}
}

// stagedBatch is the events of a part as the log is given them. Those that are too large are left out of
// both.
func (t *Topic[T]) stagedBatch(p *Publication, part *part) transport.Batch {
	n := len(part.events)
	b := transport.Batch{
		Topic: t.info.name, Partition: part.partition,
		Envelopes: make([]*transport.Envelope, 0, n), Due: make([]time.Time, 0, n), UserID: make([]bool, 0, n),
	}
	kept := part.index[:0]
	for j, i := range part.index {
		e := &part.events[j]
		if err := t.bus.durable.caps.CheckPayload(e.Envelope.Payload); err != nil {
			p.events[i].err = t.appendError(err)
			continue
		}
		kept = append(kept, i)
		b.Envelopes, b.Due, b.UserID = append(b.Envelopes, e.Envelope), append(b.Due, e.Due), append(b.UserID, e.UserID)
	}
	part.index = kept
	return b
}
