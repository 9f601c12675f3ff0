package bus

import "github.com/shardbus/shardbus/transport"

// cell is what a mailbox holds: a typed event, or an envelope and room for the
// value that it decodes to.
type cell[T any] struct {
	head
	v T
}

// fill makes c an event of this process.
func (c *cell[T]) fill(v *T, env *transport.Envelope, headers Headers, at int64, seq uint64) {
	c.v, c.env, c.headers, c.at, c.seq = *v, env, headers, at, seq
}

// bare tells whether c is its value and nothing else. It compares, since a call of a method of Headers is
// not inlined here.
func (c *cell[T]) bare() bool { return c.env == nil && c.headers == (Headers{}) }

// head is the part of a mailbox cell that does not depend on the event's type.
type head struct {
	// env holds the given ID of an event published in this process, and is nil when it has none; for
	// an event off a transport it is the whole event.
	env *transport.Envelope
	// headers are those of an event published in this process; of others they are in env.
	headers Headers
	// seq numbers the topic's events in this process from 1; 0 says that the event came off a
	// transport, and that env holds its payload.
	seq uint64
	// at is the time of publishing in Unix nanoseconds; 0 is unknown.
	at int64
}
