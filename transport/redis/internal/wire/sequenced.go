package wire

import (
	"strings"

	"github.com/shardbus/shardbus/transport"
)

// Sequenced reports whether a message is an event with a number. Others have a member of that name too, or have one in their
// data, and what has no number must not count as what has. Of our own documents only what stands before the data is read.
func Sequenced(msg string) bool {
	if !isCompact(msg) {
		if !strings.Contains(msg, `"`+attrSequence+`"`) {
			return false
		}
		if numberedFirst(msg) {
			return true
		}
	}
	var env transport.Envelope
	_, ok := Decode(msg, &env)
	return ok && env.Seq != 0
}

// numberedFirst reports whether a document has a number before its data. It reads no further.
func numberedFirst(msg string) bool {
	s := scanner{text: msg}
	if !s.take('{') {
		return false
	}
	for isDocument := false; ; {
		name, _, ok := s.str()
		if !ok || name == attrData || !s.take(':') {
			return false
		}
		if name == attrSequence && isDocument {
			digits, _, _ := s.str()
			_, ok := parseSequence(digits)
			return ok
		}
		isDocument = isDocument || name == attrSpec
		if _, ok := s.value(); !ok || !s.take(',') {
			return false
		}
	}
}
