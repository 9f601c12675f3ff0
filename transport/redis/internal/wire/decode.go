package wire

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/shardbus/shardbus/transport"
)

// Reading is what [Decode] says beside the envelope.
type Reading struct {
	// Uncertain is the attribute of that name; empty if there is none.
	Uncertain string
	// Unread are the optional attributes that could not be read. The envelope is without them.
	Unread Attributes
}

// Attributes is a set of optional attributes.
type Attributes uint8

// The attributes that an event can do without.
const (
	Time Attributes = 1 << iota
	Sequence
	Key
	ContentType
	UncertainList
	More   // shardbusmore, or a part of it that is none of the others
	Header // any other
	TypeName
)

var attributeNames = [...]string{attrTime, attrSequence, attrKey, attrContent, attrUncertain, attrMore, "another attribute", attrTypeName}

// String lists the attributes by their names on the wire, joined by commas.
func (a Attributes) String() string {
	var names []string
	for i, name := range attributeNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Len is how many attributes a holds.
func (a Attributes) Len() int { return bits.OnesCount8(uint8(a)) }

// Decode reads a message. ok is false for a bare payload, which is what neither begins like a compact message nor is a JSON
// object with a member specversion; env is then empty.
//
// Any other message fills the envelope. One that is no event, because it lacks what is required or its data can't be read,
// has env.Malformed set, and the whole message for a payload: of its attributes only publisher, ID, number and time
// are there, where they could be read. What else can't be read is left out, see [Reading].
//
// Foreign documents are welcome: what is not ours becomes a header, and only a sequence of 20 digits numbers the event.
// Topic and Partition are not set: the channel says them. The envelope shares memory with msg.
func Decode(msg string, env *transport.Envelope) (r Reading, ok bool) {
	*env = transport.Envelope{}
	if isCompact(msg) {
		return decodeCompact(msg, env), true
	}
	text := strings.TrimPrefix(msg, byteOrderMark)
	at := skipSpace(text, 0)
	switch {
	case at == len(text):
		return Reading{}, false
	case text[at] == '[':
		if isBatch(text, at) {
			malform(env, msg, "a batch of CloudEvents documents: publish each by itself")
			return Reading{}, true
		}
		return Reading{}, false
	case text[at] != '{':
		return Reading{}, false
	}
	d := document{scanner: scanner{text: text, broken: !utf8.ValidString(text)}, env: env}
	return d.decode(msg)
}

// byteOrderMark stands before the documents of some programs.
const byteOrderMark = "\ufeff"

// isBatch reports whether the array at that place begins with a document.
func isBatch(text string, at int) bool {
	if at = skipSpace(text, at+1); at >= len(text) || text[at] != '{' {
		return false
	}
	end := skipAny(text, at)
	if end < 0 {
		end = len(text)
	}
	var env transport.Envelope
	_, is := Decode(text[at:end], &env)
	return is
}

// malform makes env that of a message that is no event, for a reason.
func malform(env *transport.Envelope, msg, format string, args ...any) {
	*env = transport.Envelope{
		Publisher: env.Publisher, ID: env.ID, Seq: env.Seq, Time: env.Time,
		Malformed: fmt.Errorf("%w: "+format, append([]any{transport.ErrMalformed}, args...)...),
		Payload:   Bytes(msg),
	}
}

// Bytes returns the bytes of s without copying them. Nobody may change them: envelopes are immutable once delivered.
func Bytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // see above
}
