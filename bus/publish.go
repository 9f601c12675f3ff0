package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

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
// Of a durable topic it returns nil when the log has the event, whether anybody is subscribed or not. An
// error that wraps [transport.ErrUncertain] says that the event may be in the log, or get there yet: ctx
// ended, or the bus, while the log had not answered. After any other error it is not there.
//
// Errors: ErrClosed, ErrMailboxFull, ErrWouldDeadlock, ctx's, the codec's, the transport's, the log's.
// Events published one after another are handled in that order, see [Lanes].
func (t *Topic[T]) Publish(ctx context.Context, event T, opts ...PublishOption) error {
	if len(opts) > 0 || t.fanout.indirect {
		return t.publishWith(ctx, event, opts)
	}
	id, entered := t.fanout.tryFast(&event, Headers{})
	if entered {
		return nil
	}
	return t.enter(ctx, event, id, &publishOptions{})
}

// publishWith is Publish with options, or through a chain, a log or a transport.
func (t *Topic[T]) publishWith(ctx context.Context, event T, opts []PublishOption) error {
	switch {
	case t.chain != nil:
		return t.publishOne(ctx, event, opts)
	case t.info.durable:
		return t.appendOne(ctx, event, opts)
	case t.info.remote:
		return t.send(ctx, event, opts)
	}
	o := newPublishOptions(opts)
	if o.durable != "" {
		return t.needsDurable(&o)
	}
	var id keyInfo
	if o.id == "" && o.receipt == nil {
		var entered bool
		if id, entered = t.fanout.tryFast(&event, o.headers); entered {
			return nil
		}
	}
	return t.enter(ctx, event, id, &o)
}

// enter publishes in process what could not go the short way. id is the event's, unless it is not known.
func (t *Topic[T]) enter(ctx context.Context, event T, id keyInfo, o *publishOptions) error {
	c := cell[T]{head: head{env: localEnvelope(o.id), headers: o.headers}, v: event}
	if t.fanout.stamp {
		c.at = time.Now().UnixNano()
	}
	return t.fanout.publish(ctx, &c, id, nil, o.receipt)
}

// PublishBatch publishes events in order, as Publish does each, at a lower cost. Options apply to
// every event. When some could not be published the error is a *BatchError that says which and why;
// the others were. Of a durable topic those of each partition are one append, which the log takes whole or
// not at all. events belongs to the caller again when it returns.
func (t *Topic[T]) PublishBatch(ctx context.Context, events []T, opts ...PublishOption) error {
	if t.fanout.indirect {
		return t.publishEach(ctx, events, opts)
	}
	o := newPublishOptions(opts)
	if o.durable != "" {
		return t.needsDurable(&o)
	}
	h := head{env: localEnvelope(o.id), headers: o.headers}
	return t.batchError(len(events), t.fanout.publishBatch(ctx, events, h, o.receipt))
}

func (t *Topic[T]) batchError(total int, failed []IndexedError) error {
	if len(failed) == 0 {
		return nil
	}
	return &BatchError{Topic: t.info.name, Total: total, Failed: failed}
}

// localEnvelope holds the given ID of an event that stays in the process; nil where it has none.
func localEnvelope(id string) *transport.Envelope {
	if id == "" {
		return nil
	}
	return &transport.Envelope{ID: id}
}

// send publishes one event through the transport.
func (t *Topic[T]) send(ctx context.Context, event T, opts []PublishOption) error {
	o := newPublishOptions(opts)
	if o.durable != "" {
		return t.needsDurable(&o)
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
	payload, keyLen, err := t.encodePayload(event)
	if err != nil {
		return nil, &Error{Op: "publish", Topic: t.info.name, Err: errguard.Safe(err), Detail: "nothing was published"}
	}
	seq := t.sent.Add(1)
	env := &transport.Envelope{
		Topic: t.info.name, Partitions: t.info.partitions, Publisher: t.info.publisher, ID: o.id, Time: time.Now(),
		Headers: o.headers, ContentType: t.info.codec.ContentType(), TypeName: t.info.typeName, Payload: payload,
	}
	if env.ID == "" {
		env.ID = MessageID{scope: t.info.idScope, seq: seq}.String()
	}
	switch {
	case t.cfg.Key != nil:
		env.Key = t.cfg.Key(*event)
	case keyLen > 0: // the buffer does not change any more
		env.Key, env.Payload = unsafe.String(unsafe.SliceData(payload), keyLen), payload[keyLen:]
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

// encodePayload encodes an event. With AppendKey the event's key, of keyLen bytes, stands in front of
// the payload, in one buffer, whose room is that of the last event, within bounds: one large event
// does not make those after it large.
func (t *Topic[T]) encodePayload(event *T) (text []byte, keyLen int, err error) {
	if t.cfg.AppendKey == nil {
		text, err = t.info.codec.Append(nil, event)
		return text, 0, err
	}
	room := make([]byte, 0, max(minKeyRoom, t.lastSize.Load()))
	key := ownKey(room, t.cfg.AppendKey(room, *event))
	if text, err = t.info.codec.Append(key, event); err != nil {
		return nil, 0, err
	}
	if !bytes.HasPrefix(text, key) {
		return nil, 0, fmt.Errorf("%w: the codec %s does not append to what it is given", ErrInvalidConfig, t.info.codecName)
	}
	t.lastSize.Store(int32(min(len(text), maxKeyRoom)))
	return text, len(key), nil
}
