package wire

import (
	"encoding/base64"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/shardbus/shardbus/transport"
)

// Decode reads a message. A CloudEvents document, or a compact message, fills the envelope and, if it has one, returns
// the attribute uncertain; ok is false for anything else, and env is then empty.
//
// Foreign documents are welcome: what is not ours becomes a header (attributes that are objects or arrays, which
// CloudEvents does not have, are skipped), and only a sequence of 20 digits numbers the event. Topic and Partition
// are not set: the channel says them. The envelope shares memory with msg.
func Decode(msg string, env *transport.Envelope) (uncertain string, ok bool) {
	*env = transport.Envelope{}
	if isCompact(msg) {
		if uncertain, ok = decodeCompact(msg, env); !ok {
			*env = transport.Envelope{}
		}
		return uncertain, ok
	}
	if len(msg) == 0 || msg[0] != '{' && !isSpace(msg[0]) || !utf8.ValidString(msg) {
		return "", false
	}
	d := decoder{scanner: scanner{text: msg}, env: env}
	if !d.document() {
		*env = transport.Envelope{}
		return "", false
	}
	return d.uncertain, true
}

type decoder struct {
	scanner
	env *transport.Envelope

	spec, hasID, hasSource, hasType bool

	uncertain string
	more      string
	data      string // the raw value of data
	base64    string
}

func (d *decoder) document() bool {
	if !d.take('{') || d.take('}') {
		return false
	}
	for {
		name, ok := d.str()
		if !ok || !d.take(':') || !d.attribute(name) {
			return false
		}
		if d.take(',') {
			continue
		}
		if d.take('}') {
			break
		}
		return false
	}
	if d.at != len(d.text) || !d.spec || !d.hasID || !d.hasSource || !d.hasType {
		return false
	}
	return d.readMore() && d.readData()
}

// attribute reads the value of an attribute.
func (d *decoder) attribute(name string) bool {
	if name == attrData {
		data, ok := d.value()
		d.data = data
		return ok
	}
	if d.at < len(d.text) && d.text[d.at] == '"' {
		value, ok := d.str()
		return ok && d.set(name, value)
	}
	literal, ok := d.value()
	if !ok {
		return false
	}
	switch literal[0] {
	case '{', '[', 'n': // no CloudEvents value; null is as if it were not there
	default: // numbers and booleans have a canonical text
		if !isReserved(name) {
			d.header(name, literal)
		}
	}
	return true
}

// set takes in an attribute that is a string.
func (d *decoder) set(name, value string) bool {
	switch name {
	case attrSpec:
		d.spec = value == specVersion
	case attrID:
		d.env.ID, d.hasID = value, value != ""
	case attrSource:
		d.env.Publisher, d.hasSource = value, value != ""
	case attrType:
		d.hasType = value != ""
	case attrTime:
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return false
		}
		d.env.Time = t.UTC()
	case attrSequence:
		seq, ok := parseSequence(value)
		if !ok && value != noSequence { // somebody else's way of numbering
			d.header(name, value)
		}
		d.env.Seq = seq
	case attrUncertain:
		d.uncertain = value
	case attrKey:
		d.env.Key = value
	case attrContent:
		d.env.ContentType = value
	case attrMore:
		d.more = value
	case attrBase64:
		d.base64 = value
	default:
		d.header(name, value)
	}
	return true
}

func (d *decoder) header(name, value string) {
	if d.env.Header == nil {
		d.env.Header = make(map[string]string)
	}
	d.env.Header[name] = value
}

// parseSequence reads exactly 20 digits that fit 64 bits, and not 0. The highest number is refused too, so that the
// one behind a valid number always exists.
func parseSequence(s string) (uint64, bool) {
	if len(s) != sequenceDigits {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		digit := uint64(s[i] - '0')
		if n > (1<<64-2-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, n != 0
}

// readMore resolves attrMore.
func (d *decoder) readMore() bool {
	for more := d.more; more != ""; {
		var field string
		field, more, _ = strings.Cut(more, "&")
		rawName, rawValue, found := strings.Cut(field, "=")
		value, err := url.QueryUnescape(rawValue)
		if !found || err != nil {
			return false
		}
		switch rawName {
		case moreID:
			d.env.ID = value
		case moreSource:
			d.env.Publisher = value
		case moreKey:
			d.env.Key = value
		case moreContent:
			d.env.ContentType = value
		default:
			name, err := url.QueryUnescape(rawName)
			if err != nil {
				return false
			}
			d.header(name, value)
		}
	}
	if d.env.Publisher == "" {
		d.env.Seq = 0
	}
	return true
}

// readData resolves data or data_base64.
func (d *decoder) readData() bool {
	switch {
	case d.base64 != "":
		if d.data != "" {
			return false // CloudEvents JSON format, section 3.1.1: only one of them
		}
		payload, err := base64.StdEncoding.DecodeString(d.base64)
		if err != nil {
			return false
		}
		d.env.Payload = payload
	case d.data == "":
	case d.data[0] == '"' && d.env.ContentType != "" && !isJSONType(d.env.ContentType):
		s := scanner{text: d.data}
		text, ok := s.str()
		d.env.Payload = Bytes(text)
		return ok
	default:
		d.env.Payload = Bytes(d.data)
	}
	return true
}

// Bytes returns the bytes of s without copying them. Nobody may change them: envelopes are immutable once delivered.
func Bytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // see above
}
