package bus

import (
	"strconv"
	"time"
)

// Message is an event as received, with what is known about it. It is a value:
// safe to keep after the handler returned. Metadata and whatever Value points
// to are shared with other subscriptions and must not be changed.
type Message[T any] struct {
	Topic string
	ID    MessageID
	// Key is the ordering key; empty when the topic has none.
	Key string
	// Time is when the event was published. It is zero for an event handed over
	// in-process, unless TopicConfig.Stamp is set.
	Time time.Time
	// Attempt is 1 for the first time the handler sees the event.
	Attempt  int
	Metadata Metadata
	Value    T
}

// Metadata are the headers an event was published with. nil when there are
// none; reading from nil is fine. Immutable once published.
type Metadata map[string]string

// MessageID identifies an event. It is comparable, costs nothing to carry, and
// is formatted only by String. The zero MessageID belongs to events that a
// stranger published without one.
type MessageID struct {
	// scope is the publisher and topic with seq, or a whole ID without.
	scope string
	seq   uint64
}

// String is the ID's text form: the publisher, a dot and so on for an ID made
// by the bus, the given text for one set by [ID], "" for the zero ID.
func (id MessageID) String() string {
	if id.seq == 0 {
		return id.scope
	}
	return id.scope + "." + strconv.FormatUint(id.seq, 10)
}

// IsZero tells whether the event came without an ID.
func (id MessageID) IsZero() bool { return id == MessageID{} }
