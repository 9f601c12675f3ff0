package bus

import (
	"context"
	"reflect"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/internal/errguard"
)

// Delivery is an event on its way to a handler, as middleware sees it: untyped, perhaps still
// encoded. It is a view of the lane's mailbox: valid until the middleware returns, and only on its
// goroutine.
type Delivery struct {
	head    *head
	value   any // a *T: a pointer in an interface allocates nothing
	attempt int
	encoded bool   // *T is still zero and the payload stands in head.env
	start   uint32 // what the attempt at an event of a durable topic is known by, see Within
	info    *topicInfo
	sub     string
	lane    int32 // its number
	place   int32 // in batch
	batch   batchOf
	check   *checkedAttempt // nil without Config.Debug
}

// used notes a call of a method for Config.Debug. Without that it costs a look.
func (d *Delivery) used(method string) {
	if d.check != nil {
		d.check.used(method)
	}
}

// batchOf is a batch that deliveries enter at the end of their chains; nil for those that are
// handled one by one.
type batchOf interface {
	enter(ctx context.Context, d *Delivery) error
}

// Topic is the name of the event's topic.
func (d *Delivery) Topic() string {
	d.used("Delivery.Topic")
	return d.info.name
}

// Subscription is the name of the subscription that handles it.
func (d *Delivery) Subscription() string {
	d.used("Delivery.Subscription")
	return d.sub
}

// Partition is the partition by which the event came; 0 in process and if the topic is not
// partitioned.
func (d *Delivery) Partition() int {
	d.used("Delivery.Partition")
	if d.head.env == nil {
		return 0
	}
	return d.head.env.Partition
}

// Offset is the event's place in its partition of the log of a durable topic, from 1; 0 for other topics.
func (d *Delivery) Offset() uint64 {
	d.used("Delivery.Offset")
	if e := d.logged(); e != nil {
		return e.Offset
	}
	return 0
}

// Redelivered reports whether an event of a durable topic may have been handled before, by a process that
// ended, or lost the partition, before its outcome was in the log.
func (d *Delivery) Redelivered() bool {
	d.used("Delivery.Redelivered")
	e := d.logged()
	return e != nil && e.Redelivered()
}

// logged is the event as the log knows it; nil if its topic is not durable.
func (d *Delivery) logged() *consumer.Event {
	if d.head.env == nil || !d.info.durable {
		return nil
	}
	e, _ := d.head.env.Extra.(*consumer.Event)
	return e
}

// Attempt counts the starts of the handler for this event from 1.
func (d *Delivery) Attempt() int {
	d.used("Delivery.Attempt")
	return d.attempt
}

// ID identifies the event.
func (d *Delivery) ID() MessageID {
	d.used("Delivery.ID")
	switch {
	case d.head.env != nil && d.head.env.ID != "":
		return d.info.givenID(d.head.env)
	case d.head.seq != 0:
		return MessageID{scope: d.info.idScope, seq: d.head.seq}
	}
	return MessageID{}
}

// Key is the event's ordering key; empty when it has none.
func (d *Delivery) Key() string {
	d.used("Delivery.Key")
	if d.head.seq == 0 && d.head.env != nil && (d.encoded || d.head.env.Key != "") {
		return d.head.env.Key
	}
	if d.info.key == nil {
		return ""
	}
	return d.info.key(d.value)
}

// Time is when the event was published; zero when that is unknown.
func (d *Delivery) Time() time.Time {
	d.used("Delivery.Time")
	switch {
	case d.head.at != 0:
		return time.Unix(0, d.head.at)
	case d.head.env != nil:
		return d.head.env.Time
	}
	return time.Time{}
}

// Headers are the event's headers.
func (d *Delivery) Headers() Headers {
	d.used("Delivery.Headers")
	if d.head.seq == 0 && d.head.env != nil {
		return d.head.env.Headers
	}
	return d.head.headers
}

// Publisher is the incarnation of the bus that published the event; empty if a foreign client did.
func (d *Delivery) Publisher() string {
	d.used("Delivery.Publisher")
	if d.head.seq != 0 {
		return d.info.publisher
	}
	if d.head.env == nil {
		return ""
	}
	return d.head.env.Publisher
}

// Encoded reports whether the event is still bytes: true for an event off a transport until Decode,
// or the Codec middleware, has run in this attempt.
func (d *Delivery) Encoded() bool {
	d.used("Delivery.Encoded")
	return d.encoded
}

// Payload returns the encoded event as it came off the transport. It returns false for an event
// that was delivered in process and never encoded. Don't change it.
func (d *Delivery) Payload() ([]byte, bool) {
	d.used("Delivery.Payload")
	if d.head.seq != 0 || d.head.env == nil {
		return nil, false
	}
	return d.head.env.Payload, true
}

// Malformed says why the message that came off the transport is no event; nil for every event.
// Payload is then the whole message, and Decode fails. No handler is called for it. It becomes a
// dead letter, unless a middleware decides otherwise. The error wraps [transport.ErrMalformed].
func (d *Delivery) Malformed() error {
	d.used("Delivery.Malformed")
	if !d.encoded {
		return nil
	}
	return d.head.env.Malformed
}

// ContentType is the media type of the payload; empty when unknown or when there is no payload.
func (d *Delivery) ContentType() string {
	d.used("Delivery.ContentType")
	if d.head.env == nil {
		return ""
	}
	return d.head.env.ContentType
}

// Decode turns the payload into the typed value with c, or with the topic's codec if c is nil. It
// does nothing if that was done already or the event was never encoded. The error is a [DeadLetter]
// verdict: another attempt would not help. A [Delivery.Malformed] payload is not given to the
// codec, nor is one whose publisher says that it has another type ([ErrOtherType], see
// TopicConfig.TypeName). The engine calls it before the handler if no middleware did.
func (d *Delivery) Decode(c codec.Codec) error {
	d.used("Delivery.Decode")
	if !d.encoded {
		return nil
	}
	if err := d.head.env.Malformed; err != nil {
		return d.undecodable(err, "")
	}
	if err := d.info.rejects(d.head.env); err != nil {
		return d.undecodable(err, "")
	}
	if c == nil {
		c = d.info.codec
	}
	if err := c.Decode(d.head.env.Payload, d.value); err != nil {
		d.info.reset(d.value) // a half-filled value is no value
		if len(d.head.env.Payload) == 0 {
			return d.undecodable(err, "no data")
		}
		return d.undecodable(err, "")
	}
	d.encoded = false
	if d.check != nil {
		d.check.wasDecoded()
	}
	return nil
}

func (d *Delivery) undecodable(err error, detail string) error {
	return DeadLetter(&Error{Op: "decode", Topic: d.info.name, Subscription: d.sub, Err: errguard.Safe(err), Detail: detail})
}

// Clone returns a copy of d as it is now that is safe to keep, for a test or an archive. It shares
// with the original what the event points to.
func (d *Delivery) Clone() *Delivery {
	d.used("Delivery.Clone")
	own, head, value := *d, *d.head, reflect.New(d.info.typ)
	value.Elem().Set(reflect.ValueOf(d.value).Elem())
	own.head, own.value = &head, value.Interface()
	own.batch, own.place, own.check = nil, 0, nil
	return &own
}

// Value returns the typed event of d. It returns false when T is not the topic's type, or d is
// still encoded. The event is shared: don't change what it points to. Nothing is boxed or copied;
// the pointer is valid as long as d is.
func Value[T any](d *Delivery) (*T, bool) {
	d.used("bus.Value")
	v, ok := d.value.(*T)
	if !ok || d.encoded {
		return nil, false
	}
	return v, true
}

// message is d as a value of its own.
func message[T any](d *Delivery, v T) Message[T] {
	m := Message[T]{
		Topic: d.info.name, ID: d.ID(), Key: d.Key(), Time: d.Time(),
		Attempt: d.attempt, Headers: d.Headers(), Value: v,
	}
	if e := d.logged(); e != nil {
		m.Partition, m.Offset, m.Redelivered, m.event, m.start = e.Partition(), e.Offset, e.Redelivered(), e, d.start
	}
	return m
}
