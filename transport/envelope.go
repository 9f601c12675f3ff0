package transport

import "time"

// Envelope is an event as it travels between processes. It arrives as it was published but for Seq:
// every byte of every string, whatever it is. A transport may lose the difference between nil and
// empty, and a time's zone and monotonic clock.
type Envelope struct {
	Topic string
	// Partitions is how many the topic has, 0 if it is not partitioned, and Partition is the
	// event's, from 0.
	Partitions int
	Partition  int

	// Publisher is the incarnation of the bus that published the event: it differs between buses
	// and after each restart. Empty when a foreign client published a bare payload.
	Publisher string
	// ID is unique among the publisher's events. Empty only when Publisher is.
	ID string
	// Seq numbers the publisher's events on this topic and partition from 1 without holes. The
	// transport assigns it as it writes, and ignores what it was. 0 means unsequenced, as the
	// events of a foreign client are.
	Seq uint64

	// Key is the ordering key; empty when the event has none.
	Key string
	// Time is when the event happened or, by default, was published: zero, or in the years 1 to
	// 9999, to the nanosecond.
	Time time.Time
	// Headers are the event's headers.
	Headers Headers
	// ContentType is the media type of Payload; empty when unknown.
	ContentType string
	// TypeName is the publisher's name for the type of the event: at most MaxTypeName bytes of
	// text. Empty when it has none, as foreign clients have.
	TypeName string
	// Payload is the encoded event. It may be empty or nil.
	Payload []byte

	// Malformed says why a message that arrived is no event: a required attribute is missing, or
	// data can't be read. It wraps [ErrMalformed]; it is nil for every event. Payload is then the
	// whole message. Of the other fields only Topic, Partitions and Partition are sure to be set;
	// Publisher, ID, Seq and Time are set if they could be read. The bus makes it a dead letter;
	// its codec and its handlers never see it. Only transports set it, and only on what they
	// deliver.
	Malformed error

	// Extra is whatever the receiver keeps with the envelope. Transports and logs neither set nor read
	// it, and it does not travel.
	Extra any
}

// MaxTypeName is the length of the longest name of a type, in bytes.
const MaxTypeName = 200

// envelopeOverhead is about what an envelope costs in memory in addition to its strings and
// payload.
const envelopeOverhead = 200

// Size is about how many bytes the envelope holds in memory. It is what bounds an inbox.
func (e *Envelope) Size() int {
	n := envelopeOverhead + len(e.Payload) + len(e.Key) + len(e.ID)
	for k, v := range e.Headers.All() {
		n += len(k) + len(v) + 32
	}
	return n
}
