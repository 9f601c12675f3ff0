package record

import (
	"encoding/binary"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// AppendDeferral is the value of a deferral. The key has its offset and letter.
func AppendDeferral(d transport.Deferral) []byte {
	v := begin(64 + len(d.Key) + len(d.Err))
	v = appendTime(v, d.Due)
	v = appendTime(v, d.First)
	v = appendInt(v, d.Attempt)
	v = appendFlag(v, d.Behind)
	v = appendBytes(v, d.Key)
	v = appendBytes(v, d.Err)
	return seal(v)
}

// ReadDeferral reads it.
func ReadDeferral(value []byte, ref transport.EventRef) (d transport.Deferral, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return d, false
	}
	d = transport.Deferral{
		Offset: ref.Offset, Letter: ref.Letter,
		Due: r.time(), First: r.time(), Attempt: r.int(), Behind: r.flag(), Key: r.text(), Err: r.text(),
	}
	return d, r.done()
}

// AppendStarts is the value of a count of starts.
func AppendStarts(n int) []byte { return seal(appendInt(begin(4), n)) }

// ReadStarts reads it.
func ReadStarts(value []byte) (n int, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return 0, false
	}
	n = r.int()
	return n, r.done()
}

// Letter is a dead letter as the file has it.
type Letter struct {
	Partition int
	Offset    uint64
	Failure   transport.Failure
	// Event is the value of its event.
	Event []byte
}

// AppendLetter is its value. The key has its ID.
func AppendLetter(l Letter) []byte {
	v := begin(64 + len(l.Failure.Error) + len(l.Failure.ErrorType) + len(l.Failure.Stack) + len(l.Event))
	v = appendInt(v, l.Partition)
	v = binary.AppendUvarint(v, l.Offset)
	v = appendBytes(v, l.Failure.Error)
	v = appendBytes(v, l.Failure.ErrorType)
	v = appendBytes(v, l.Failure.Stack)
	v = appendInt(v, l.Failure.Attempts)
	v = appendTime(v, l.Failure.First)
	v = appendTime(v, l.Failure.Last)
	v = appendBytes(v, l.Event)
	return seal(v)
}

// ReadLetter reads it. Its stack and event are parts of value.
func ReadLetter(value []byte) (l Letter, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return l, false
	}
	l.Partition = r.int()
	l.Offset = r.uvarint()
	l.Failure = transport.Failure{Error: r.text(), ErrorType: r.text(), Stack: r.bytes(), Attempts: r.int(), First: r.time(), Last: r.time()}
	if len(l.Failure.Stack) == 0 {
		l.Failure.Stack = nil
	}
	l.Event = r.bytes()
	return l, r.done()
}

// Scheduled is an event that waits until it is due.
type Scheduled struct {
	Topic     uint32
	Partition int
	// UserID is its ID if a user gave that; empty: nobody did.
	UserID string
	// Event is its value.
	Event []byte
}

// AppendScheduled is its value. The key has when it is due.
func AppendScheduled(s Scheduled) []byte {
	v := begin(32 + len(s.UserID) + len(s.Event))
	v = binary.AppendUvarint(v, uint64(s.Topic))
	v = appendInt(v, s.Partition)
	v = appendBytes(v, s.UserID)
	v = appendBytes(v, s.Event)
	return seal(v)
}

// ReadScheduled reads it. Its event is a part of value.
func ReadScheduled(value []byte) (s Scheduled, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return s, false
	}
	topic := r.uvarint()
	s = Scheduled{Topic: uint32(topic), Partition: r.int(), UserID: r.text(), Event: r.bytes()} //nolint:gosec // checked
	return s, r.done() && topic <= 1<<32-1
}

// UserID is what is known of an ID that a user gave.
type UserID struct {
	// Offset is that of the first event with it; 0 while that waits.
	Offset uint64
	// Until is how long it is remembered; zero while its event waits.
	Until time.Time
	// Waits is the key of the event that waits; nil: none does.
	Waits []byte
}

// AppendUserID is its value.
func AppendUserID(id UserID) []byte {
	v := begin(40)
	v = binary.AppendUvarint(v, id.Offset)
	v = appendTime(v, id.Until)
	v = appendBytes(v, id.Waits)
	return seal(v)
}

// ReadUserID reads it.
func ReadUserID(value []byte) (id UserID, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return id, false
	}
	id = UserID{Offset: r.uvarint(), Until: r.time(), Waits: r.bytes()}
	if len(id.Waits) == 0 {
		id.Waits = nil
	}
	return id, r.done()
}
