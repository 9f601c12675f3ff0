package record

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/frame"
)

// atLength is the time when the log gave an event its offset.
const atLength = 8

// NewEvent makes the value of an event that has no offset yet. [StampEvent] completes it.
func NewEvent(env *transport.Envelope) []byte {
	value := append(begin(atLength+len(env.Payload)+len(env.ID)+len(env.Publisher)+len(env.Key)+len(env.ContentType)+64), make([]byte, atLength)...)
	value, _ = frame.Append(value, env, "")
	return value
}

// StampEvent writes when the log gave an event its offset.
func StampEvent(value []byte, at time.Time) {
	binary.BigEndian.PutUint64(value[headLength:], nanos(at))
	seal(value)
}

// EventAt is when that was, of a value that is sound or not; zero if it is too short.
func EventAt(value []byte) time.Time {
	if len(value) < headLength+atLength {
		return time.Time{}
	}
	return timeOf(binary.BigEndian.Uint64(value[headLength:]))
}

// ReadEvent is the event of a value, which is the event's from then on. One that can't be read is
// Malformed, and its payload is the value.
func ReadEvent(value []byte, topic string, partitions, partition int) (env *transport.Envelope, at time.Time) {
	env = new(transport.Envelope)
	why := "its checksum is wrong"
	if Sound(value) {
		why = "it is too short"
		if len(value) >= headLength+atLength {
			_, why = frame.Read(string(value[headLength+atLength:]), env)
		}
	}
	if why != "" {
		*env = transport.Envelope{Payload: value, Malformed: fmt.Errorf("%w: %s", transport.ErrMalformed, why)}
	}
	env.Topic, env.Partitions, env.Partition = topic, partitions, partition
	return env, EventAt(value)
}
