package bus

import (
	"strconv"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/transport"
)

// Message is an event as received, with what is known about it. It is a value: safe to keep after
// the handler returned. What Value points to is shared with other subscriptions and must not be
// changed.
type Message[T any] struct {
	Topic string
	ID    MessageID
	// Key is the ordering key; empty when the topic has none.
	Key string
	// Time is when the event was published. It is zero for an event delivered in process, unless
	// TopicConfig.Stamp is set.
	Time time.Time
	// Attempt is 1 for the first time the handler sees the event.
	Attempt int
	Headers Headers
	Value   T

	// Partition and Offset are the event's place in the log of a durable topic; Offset is 0 for other
	// topics. Redelivered: it may have been handled before, by a process that ended, or lost the
	// partition, before the outcome was in the log.
	Partition   int
	Offset      uint64
	Redelivered bool

	start uint32 // which attempt at event it is
	event *consumer.Event
}

// Headers are the headers that an event was published with: an immutable value.
type Headers = transport.Headers

// MessageID identifies an event. It is comparable, costs nothing to carry, and is formatted only by
// String. The zero MessageID belongs to events that a foreign client published without one.
//
// Two events of foreign publishers are the same, as CloudEvents has it, if they have the same ID
// and the same source: MessageIDs compare both. Events of buses are the same if they have the same
// ID: see [ID].
type MessageID struct {
	// scope is the publisher and topic with seq, or a whole ID without.
	scope string
	seq   uint64
	// source is that of a foreign event, else empty.
	source string
}

// String is the ID's text form: the publisher, a dot and so on for an ID made by the bus, the given
// text for one set by [ID] or by a foreign publisher, "" for the zero ID. That of a foreign event
// is unique only together with Source.
func (id MessageID) String() string {
	if id.seq == 0 {
		return id.scope
	}
	return id.scope + "." + strconv.FormatUint(id.seq, 10)
}

// Source is the CloudEvents source of a foreign event, within which its ID is unique; empty for an
// event of a bus.
func (id MessageID) Source() string { return id.source }

// IsZero reports whether the event came without an ID.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// MessageOf returns d as a typed message, decoded if needed. It is safe to keep. The error is
// Decode's, or ErrWrongType when T is not the topic's type.
func MessageOf[T any](d *Delivery) (Message[T], error) {
	if err := d.Decode(nil); err != nil {
		return Message[T]{}, err
	}
	v, ok := Value[T](d)
	if !ok {
		return Message[T]{}, &Error{Op: "read", Topic: d.info.name, Subscription: d.sub, Err: ErrWrongType,
			Detail: "the topic carries " + d.info.typ.String()}
	}
	return message(d, *v), nil
}
