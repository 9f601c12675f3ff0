package wire

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shardbus/shardbus/transport"
)

// document reads a JSON object that may be a CloudEvents document.
type document struct {
	scanner
	env   *transport.Envelope
	came  names  // the members that came
	twice bool   // one of them came twice
	why   string // why it is no event; the first reason counts

	version   string
	uncertain string
	more      string
	data      string // the raw value of data
	base64    string
	unread    Attributes
	headers   []transport.Header  // in the order in which they came
	names     map[string]struct{} // theirs, once there are more than fewHeaders
}

// fewHeaders is up to how many headers are looked through one by one.
const fewHeaders = 16

// names is a set of members that mean something.
type names uint16

const (
	nameSpec names = 1 << iota
	nameID
	nameSource
	nameType
	nameTime
	nameSequence
	nameUncertain
	nameKey
	nameContent
	nameTypeName
	nameMore
	nameData
	nameBase64

	namesRequired = nameSpec | nameID | nameSource | nameType
)

// nameOf is 0 for a header.
func nameOf(member string) names {
	switch member {
	case attrSpec:
		return nameSpec
	case attrID:
		return nameID
	case attrSource:
		return nameSource
	case attrType:
		return nameType
	case attrTime:
		return nameTime
	case attrSequence:
		return nameSequence
	case attrUncertain:
		return nameUncertain
	case attrKey:
		return nameKey
	case attrContent:
		return nameContent
	case attrTypeName:
		return nameTypeName
	case attrMore:
		return nameMore
	case attrData:
		return nameData
	case attrBase64:
		return nameBase64
	}
	return 0
}

// optional is the attribute that can be done without; 0: it can't.
func (n names) optional() Attributes {
	switch n {
	case nameTime:
		return Time
	case nameSequence:
		return Sequence
	case nameKey:
		return Key
	case nameContent:
		return ContentType
	case nameTypeName:
		return TypeName
	case nameUncertain:
		return UncertainList
	case nameMore:
		return More
	case 0:
		return Header
	case nameSpec, nameID, nameSource, nameType, nameData, nameBase64, namesRequired:
	}
	return 0
}

// decode is Decode for msg, of which the scanner has the text.
func (d *document) decode(msg string) (r Reading, ok bool) {
	at, whole := d.members()
	switch {
	case !whole && (d.came&nameSpec != 0 || strings.Contains(d.text, `"`+attrSpec+`"`)):
		*d.env = transport.Envelope{} // nothing of it can be trusted
		malform(d.env, msg, "a document that is broken JSON, in the member at byte %d", at)
		return Reading{}, true
	case !whole || d.came&nameSpec == 0:
		*d.env = transport.Envelope{}
		return Reading{}, false
	case !isVersion1(d.version):
		*d.env = transport.Envelope{} // its attributes may mean anything
		malform(d.env, msg, "a CloudEvents document of version %.20q, want 1.0", d.version)
		return Reading{}, true
	}
	d.require()
	d.readMore()
	d.env.Headers = transport.NewHeaders(d.headers...)
	d.readData()
	if d.twice {
		d.env.Publisher, d.env.ID = "", "" // readers differ in which they take
	}
	if d.env.Publisher == "" {
		d.env.Seq = 0
	}
	r = Reading{Uncertain: d.uncertain, Unread: d.unread}
	if d.why != "" {
		malform(d.env, msg, "a CloudEvents document %s", d.why)
		r.Unread = 0
	}
	return r, true
}

// members reads the object. If it is none, at is about where that shows.
func (d *document) members() (at int, whole bool) {
	if !d.take('{') || d.take('}') {
		return 0, false
	}
	for {
		at = d.at
		name, readable, ok := d.str()
		if !ok || !d.take(':') || !d.member(name, readable) {
			return at, false
		}
		if d.take(',') {
			continue
		}
		if at = d.at; !d.take('}') {
			return at, false
		}
		return d.at, d.at == len(d.text)
	}
}

// member reads the value of a member. It is false at what is not JSON.
func (d *document) member(member string, readable bool) bool {
	name := nameOf(member)
	if !readable {
		_, ok := d.value()
		d.unread |= Header
		return ok
	}
	again := d.came&name != 0
	if name == 0 {
		again = d.hasHeader(member)
	}
	if again {
		d.twice = true
		d.wrong("with two members %.40q", member)
	}
	d.came |= name
	if name == nameData {
		value, ok := d.value()
		if d.data = value; d.broken && !utf8.ValidString(value) {
			d.wrong("whose data is no UTF-8")
		}
		return ok
	}
	if d.at < len(d.text) && d.text[d.at] == '"' {
		value, readable, ok := d.str()
		if !ok {
			return false
		}
		if !readable {
			d.cannotRead(name, member)
		} else {
			d.set(name, member, value)
		}
		return true
	}
	literal, ok := d.value()
	if !ok {
		return false
	}
	switch literal[0] {
	case 'n': // null is as if it were not there
		if name != nameSpec {
			d.came &^= name
		}
	case '{', '[': // CloudEvents has no such values
		d.cannotRead(name, member)
	default: // a number or a boolean, of which the text is its string form
		switch name {
		case nameBase64:
			d.cannotRead(name, member)
		case nameSequence:
			d.header(member, literal)
		default:
			d.set(name, member, literal)
		}
	}
	return true
}

// wrong says why it is no event, unless that is known.
func (d *document) wrong(format string, args ...any) {
	if d.why == "" {
		d.why = fmt.Sprintf(format, args...)
	}
}

// cannotRead notes a value that can't be read.
func (d *document) cannotRead(name names, member string) {
	if optional := name.optional(); optional != 0 {
		d.unread |= optional
	} else {
		d.wrong("whose %s can't be read", member)
	}
}

// set takes in an attribute.
func (d *document) set(name names, member, value string) {
	switch name {
	case nameSpec:
		d.version = value
	case nameID:
		d.env.ID = value
	case nameSource:
		d.env.Publisher = value
	case nameType:
		if value == "" {
			d.came &^= nameType
		}
	case nameTime:
		t, ok := parseTime(value)
		if !ok {
			d.unread |= Time
			return
		}
		d.env.Time = t
	case nameSequence:
		seq, ok := parseSequence(value)
		if !ok && value != noSequence { // somebody else's way of numbering
			d.header(member, value)
		}
		d.env.Seq = seq
	case nameUncertain:
		d.uncertain = value
	case nameKey:
		d.env.Key = value
	case nameContent:
		d.env.ContentType = value
	case nameTypeName:
		d.typeName(value)
	case nameMore:
		d.more = value
	case nameBase64:
		d.base64 = value
	default:
		d.header(member, value)
	}
}

// typeName takes in the name of the event's type. One that no bus could have sent is none.
func (d *document) typeName(value string) {
	if len(value) > transport.MaxTypeName {
		d.unread |= TypeName
		return
	}
	d.env.TypeName = value
}

func (d *document) header(name, value string) {
	if len(d.headers) >= MaxHeaders {
		d.wrong("with more than %d headers", MaxHeaders)
		return
	}
	d.headers = append(d.headers, transport.Header{Name: name, Value: value})
	if d.names != nil {
		d.names[name] = struct{}{}
	} else if len(d.headers) > fewHeaders {
		d.names = make(map[string]struct{}, 2*fewHeaders)
		for _, h := range d.headers {
			d.names[h.Name] = struct{}{}
		}
	}
}

// hasHeader reports whether a header of that name came.
func (d *document) hasHeader(name string) bool {
	if d.names != nil {
		_, ok := d.names[name]
		return ok
	}
	return slices.ContainsFunc(d.headers, func(h transport.Header) bool { return h.Name == name })
}

// require looks for what every document must have.
func (d *document) require() {
	if d.tooDeep {
		d.wrong("nested more than %d deep", maxDepth)
	}
	if d.came&namesRequired == namesRequired && d.env.ID != "" && d.env.Publisher != "" {
		return
	}
	var missing []string
	if d.env.ID == "" {
		missing = append(missing, attrID)
	}
	if d.env.Publisher == "" {
		missing = append(missing, attrSource)
	}
	if d.came&nameType == 0 {
		missing = append(missing, attrType)
	}
	d.wrong("without %s", strings.Join(missing, ", "))
}

// isVersion1 accepts 1.0 and all that may follow before 2.0: minor versions add, and change nothing.
func isVersion1(version string) bool {
	if version == specVersion {
		return true
	}
	minor, found := strings.CutPrefix(version, "1.")
	return found && minor != "" && skipDigits(minor, 0) == len(minor)
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

// readData resolves data or data_base64.
func (d *document) readData() {
	hasData, hasBase64 := d.came&nameData != 0, d.came&nameBase64 != 0
	switch {
	case hasData && hasBase64 && d.data != "null": // CloudEvents JSON format, section 3.1.1: only one of them
		d.wrong("with both data and data_base64")
	case hasBase64:
		payload, err := base64.StdEncoding.DecodeString(d.base64)
		if err != nil {
			d.wrong("whose data_base64 can't be read: %v", err)
		}
		d.env.Payload = payload
	case !hasData:
	case d.data[0] != '"':
		d.env.Payload = Bytes(d.data)
	case d.unread&ContentType != 0: // it says whether the string is a text, or JSON
		d.wrong("whose datacontenttype, by which to read data, can't be read")
	case d.env.ContentType != "" && !isJSONType(d.env.ContentType):
		s := scanner{text: d.data}
		text, readable, _ := s.str()
		if !readable {
			d.wrong("whose data is a string that is no Unicode text")
		}
		d.env.Payload = Bytes(text)
	default:
		d.env.Payload = Bytes(d.data)
	}
}
