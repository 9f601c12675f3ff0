package bus

import (
	"context"
	"errors"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// Publish gives event to every subscription of the topic.
//
// In process it returns nil when the event is in every mailbox, or was dropped there by its policy.
// It waits, while ctx lasts, for mailboxes that are full and Block. A Publish that returns an error
// entered no mailbox, so it can be tried again without a repetition. It looks at ctx only while it
// waits. The event is shared with all subscriptions: it must not be changed.
//
// With a transport it returns nil when the broker has accepted the event; subscribers' mailboxes do
// not delay it. After an error the event may or may not have been accepted; the error's text says
// which is known.
//
// Errors: ErrClosed, ErrMailboxFull, ErrWouldDeadlock, ctx's, the codec's, the transport's. Events
// published one after another are handled in that order, see [Lanes].
func (t *Topic[T]) Publish(ctx context.Context, event T, opts ...PublishOption) error {
	if t.slow {
		return t.publishSlow(ctx, event, opts)
	}
	var id keyInfo
	if len(opts) == 0 {
		var entered bool
		if id, entered = t.fanout.tryFast(&event); entered {
			return nil
		}
	}
	c := cell[T]{v: event}
	var receipt *Receipt
	if len(opts) > 0 {
		var err error
		if c.env, receipt, err = localEnvelope(opts); err != nil {
			return t.sendError(err)
		}
	}
	if t.fanout.stamp {
		c.at = time.Now().UnixNano()
	}
	return t.fanout.publish(ctx, &c, id, nil, receipt)
}

// PublishBatch publishes events in order, as Publish does each, at a lower cost. Options apply to
// every event. When some could not be published the error is a *BatchError that says which and why;
// the others were. events belongs to the caller again when it returns.
func (t *Topic[T]) PublishBatch(ctx context.Context, events []T, opts ...PublishOption) error {
	if t.bus.transport != nil || t.chain != nil {
		return t.publishEach(ctx, events, opts)
	}
	var h head
	var receipt *Receipt
	if len(opts) > 0 {
		var err error
		if h.env, receipt, err = localEnvelope(opts); err != nil {
			return t.batchError(len(events), t.failAll(len(events), err))
		}
	}
	return t.batchError(len(events), t.fanout.publishBatch(ctx, events, h, receipt))
}

func (t *Topic[T]) batchError(total int, failed []IndexedError) error {
	if len(failed) == 0 {
		return nil
	}
	return &BatchError{Topic: t.info.name, Total: total, Failed: failed}
}

// localEnvelope holds the headers of an event that stays in the process; nil where there is none.
func localEnvelope(opts []PublishOption) (*transport.Envelope, *Receipt, error) {
	o, err := newPublishOptions(opts)
	if o.id == "" && o.header.IsZero() {
		return nil, o.receipt, err
	}
	return &transport.Envelope{ID: o.id, Headers: o.header}, o.receipt, err
}

// publishSlow is Publish through a chain or a transport.
func (t *Topic[T]) publishSlow(ctx context.Context, event T, opts []PublishOption) error {
	if t.chain != nil {
		return t.publishOne(ctx, event, opts)
	}
	return t.send(ctx, event, opts)
}

// send publishes one event through the transport.
func (t *Topic[T]) send(ctx context.Context, event T, opts []PublishOption) error {
	o, err := newPublishOptions(opts)
	if err != nil {
		return t.sendError(err)
	}
	env, err := t.encode(&event, &o)
	if err != nil {
		return err
	}
	epoch, err := t.fanout.beginSend(ctx)
	if err != nil {
		return t.sendError(err)
	}
	partition := [1]int{env.Partition} // the envelope is the transport's from now on
	var result [1]transport.Result
	func() {
		defer func() { t.fanout.endSend(epoch, partition[:], result[:]) }() // also when Publish panics
		t.bus.transport.Publish(ctx, []*transport.Envelope{env}, result[:])
	}()
	o.receipt.sign(result[:])
	return t.sendError(result[0].Err)
}

// failAll says that each of n events failed with err.
func (t *Topic[T]) failAll(n int, err error) []IndexedError {
	failed := make([]IndexedError, n)
	for i := range failed {
		failed[i] = IndexedError{Index: i, Err: t.sendError(err)}
	}
	return failed
}

func (t *Topic[T]) sendError(err error) error {
	if err == nil {
		return nil
	}
	if errguard.Is(err, transport.ErrClosed) {
		err = errors.Join(ErrClosed, err)
	}
	return &Error{Op: "publish", Topic: t.info.name, Err: errguard.Safe(err)}
}

// encode makes the envelope of an event.
func (t *Topic[T]) encode(event *T, o *publishOptions) (*transport.Envelope, error) {
	payload, err := t.info.codec.Append(nil, event)
	if err != nil {
		return nil, &Error{Op: "publish", Topic: t.info.name, Err: errguard.Safe(err), Detail: "nothing was published"}
	}
	seq := t.sent.Add(1)
	env := &transport.Envelope{
		Topic: t.info.name, Partitions: t.info.partitions, Publisher: t.bus.id, ID: o.id, Time: time.Now(),
		Headers: o.header, ContentType: t.info.codec.ContentType(), TypeName: t.info.typeName, Payload: payload,
	}
	if env.ID == "" {
		env.ID = MessageID{scope: t.info.idScope, seq: seq}.String()
	}
	if t.cfg.Key != nil {
		env.Key = t.cfg.Key(*event)
	}
	switch n := t.info.partitions; {
	case n == 0:
	case env.Key == "":
		env.Partition = int(seq % uint64(n))
	default:
		env.Partition = router.Partition(env.Key, n)
	}
	return env, nil
}
