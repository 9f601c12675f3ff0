package streamlog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/ackset"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// encodeEvent is an event as its stream has it: as it would be on a channel.
func encodeEvent(env *transport.Envelope, compact bool) string {
	if compact {
		doc, _ := wire.AppendCompact(nil, env, "")
		return string(doc)
	}
	doc, _ := wire.Append(nil, env, "")
	return string(doc)
}

// decodeEvent reads an event of a topic's partition. One that can't be read is malformed.
func decodeEvent(topic router.Placement, partition int, event string) *transport.Envelope {
	env := new(transport.Envelope)
	if _, ok := wire.Decode(event, env); !ok {
		*env = transport.Envelope{Payload: []byte(event), Malformed: fmt.Errorf("redis: it is no event of this library")}
	}
	env.Topic, env.Partitions, env.Partition = topic.Topic, topic.Partitions, partition
	return env
}

// takenAt is when a stream took an entry: the first part of its ID.
func takenAt(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// encodeAcks is an ack set as its field has it.
func encodeAcks(s *ackset.Set) string { return "B" + string(s.Append(nil)) }

// decodeAcks reads what encodeAcks wrote; or what a script did, which knows no sets: "Llow window".
func decodeAcks(field string) (*ackset.Set, error) {
	if low, ok := strings.CutPrefix(field, "L"); ok {
		offset, window, _ := strings.Cut(low, " ")
		w, err := strconv.Atoi(window)
		if n := number(offset); n > 0 && err == nil && w > 0 && w <= transport.MaxWindow {
			return ackset.New(n, w), nil
		}
	} else if bits, ok := strings.CutPrefix(field, "B"); ok {
		if s, ok := ackset.Read([]byte(bits), transport.MaxWindow); ok {
			return s, nil
		}
	}
	return nil, fmt.Errorf("redis: what a consumer has settled can't be read: %q", field)
}

// refName is an event of a consumer as fields name it.
func refName(ref transport.EventRef) string { return decimal(ref.Offset) + "." + decimal(ref.Letter) }

func parseRef(s string) (ref transport.EventRef, ok bool) {
	offset, letter, ok := strings.Cut(s, ".")
	if !ok {
		return ref, false
	}
	return transport.EventRef{Offset: number(offset), Letter: number(letter)}, true
}

// storedDeferral is a deferral as its field has it.
type storedDeferral struct {
	Due     time.Time `json:"due"`
	Attempt int       `json:"attempt"`
	Key     []byte    `json:"key,omitempty"` // base64, as is Err: they may be no UTF-8
	Behind  bool      `json:"behind,omitempty"`
	Err     []byte    `json:"err,omitempty"`
	First   time.Time `json:"first,omitzero"`
	ID      string    `json:"id,omitempty"` // of its entry, if that was known
}

func encodeDeferral(d transport.Deferral, id string) string {
	text, err := json.Marshal(storedDeferral{d.Due, d.Attempt, []byte(d.Key), d.Behind, []byte(d.Err), d.First, id})
	if err != nil { // a time beyond the year 9999
		text = []byte("{}")
	}
	return string(text)
}

func decodeDeferral(ref transport.EventRef, field string) (transport.Deferral, string) {
	var s storedDeferral
	if json.Unmarshal([]byte(field), &s) != nil {
		s = storedDeferral{} // it is due
	}
	return transport.Deferral{
		Offset: ref.Offset, Letter: ref.Letter, Due: s.Due, Attempt: s.Attempt, Key: string(s.Key), Behind: s.Behind, Err: string(s.Err), First: s.First,
	}, s.ID
}

// storedFailure is a failure as a letter has it.
type storedFailure struct {
	Error    []byte    `json:"error,omitempty"` // base64, as are Type and Stack: they may be no UTF-8
	Type     []byte    `json:"type,omitempty"`
	Stack    []byte    `json:"stack,omitempty"`
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

func encodeFailure(f transport.Failure) string {
	f = f.Bounded()
	text, err := json.Marshal(storedFailure{[]byte(f.Error), []byte(f.ErrorType), f.Stack, f.Attempts, f.First, f.Last})
	if err != nil {
		text = []byte("{}")
	}
	return string(text)
}

func decodeFailure(text string) transport.Failure {
	var s storedFailure
	if json.Unmarshal([]byte(text), &s) != nil {
		return transport.Failure{Error: "redis: why it was given up can't be read"}
	}
	return transport.Failure{Error: string(s.Error), ErrorType: string(s.Type), Stack: s.Stack, Attempts: s.Attempts, First: s.First, Last: s.Last}
}
