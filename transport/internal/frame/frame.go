// Package frame is the compact form of an event: a fixed mark, the number at a fixed place, flags,
// fields with their lengths before them, and the payload. docs/wire.md specifies it, and it is
// frozen. It is pure.
package frame

import (
	"encoding/binary"
	"slices"
	"time"
	"unsafe"

	"github.com/shardbus/shardbus/transport"
)

// mark begins every compact message. No text does, as its first two bytes are no UTF-8; its last is
// the version.
const (
	mark   = family + "\x01"
	family = "\xc5sb" // of every version
)

// seqAtStart is where the number stands: 8 bytes, the highest first.
const seqAtStart = len(mark)

// Flags behind the number.
const (
	timed       = 1 << iota // the time follows
	withHeaders             // headers follow the fields
	knownFlags  = timed | withHeaders
)

// Append appends an event. seqAt is where [PutSequence] overwrites its number; -1 if it has no
// publisher. uncertain lists numbers below the event's whose fate its publisher does not know;
// empty: none.
func Append(dst []byte, env *transport.Envelope, uncertain string) (doc []byte, seqAt int) {
	doc = slices.Grow(dst, len(env.Payload)+len(env.ID)+len(env.Publisher)+len(env.Key)+len(env.ContentType)+len(uncertain)+48)
	doc = append(doc, mark...)
	seqAt = len(doc)
	if env.Publisher == "" {
		doc, seqAt, uncertain = append(doc, make([]byte, 8)...), -1, ""
	} else {
		doc = binary.BigEndian.AppendUint64(doc, env.Seq)
	}
	var flags byte
	if !env.Time.IsZero() {
		flags |= timed
	}
	typeName, typed := typeNameOf(env)
	if env.Headers.Len() > 0 || typed {
		flags |= withHeaders
	}
	doc = append(doc, flags)
	if flags&timed != 0 {
		doc = binary.AppendVarint(doc, env.Time.Unix())
		doc = binary.AppendUvarint(doc, uint64(env.Time.Nanosecond())) //nolint:gosec // 0 to 999,999,999
	}
	for _, field := range [...]string{env.Publisher, env.ID, env.Key, env.ContentType, uncertain} {
		doc = appendField(doc, field)
	}
	if flags&withHeaders != 0 {
		n := env.Headers.Len()
		if typed {
			n++
		}
		doc = binary.AppendUvarint(doc, uint64(n))
		if typed {
			doc = appendField(appendField(doc, headerType), typeName)
		}
		for name, value := range env.Headers.All() {
			doc = appendField(appendField(doc, name), value)
		}
	}
	return append(doc, env.Payload...), seqAt
}

// headerType is what the first header is called if it is no header, but the name of the event's
// type: the flags and fields are frozen. Only the first: any other of that name is a header.
const headerType = ":type"

// typeNameOf is what the first header says, if it is to be that of the type: also where there is no
// type, and a header would be taken for it.
func typeNameOf(env *transport.Envelope) (name string, typed bool) {
	if env.TypeName != "" && len(env.TypeName) <= transport.MaxTypeName {
		return env.TypeName, true
	}
	_, typed = env.Headers.Lookup(headerType)
	return "", typed
}

func appendField(doc []byte, field string) []byte {
	return append(binary.AppendUvarint(doc, uint64(len(field))), field...)
}

// Is reports whether a message is meant to be compact, in whatever version.
func Is[T string | []byte](msg T) bool {
	return len(msg) >= len(family) && string(msg[:len(family)]) == family
}

// Reading is what a message says beside its envelope.
type Reading struct {
	Uncertain  string // as in Append
	TimeUnread bool   // the time is none that an envelope can have
}

// Read fills env, or says why it can't. The envelope's strings and payload are parts of msg.
func Read(msg string, env *transport.Envelope) (r Reading, why string) {
	if len(msg) < len(mark) || msg[:len(mark)] != mark {
		return r, "a compact message of another version than 1"
	}
	f := fields{text: msg[seqAtStart:], ok: true}
	env.Seq = f.number()
	flags := f.byte()
	if flags&^knownFlags != 0 {
		return r, "a compact message with unknown flags"
	}
	if flags&timed != 0 {
		seconds, nanos := f.varint(), f.uvarint()
		if nanos < uint64(time.Second) && seconds >= firstTime && seconds <= lastTime {
			env.Time = time.Unix(seconds, int64(nanos)).UTC()
		} else {
			r.TimeUnread = true
		}
	}
	env.Publisher, env.ID, env.Key, env.ContentType, r.Uncertain = f.field(), f.field(), f.field(), f.field(), f.field()
	if flags&withHeaders != 0 {
		f.headers(env)
	}
	if !f.ok {
		return r, "a compact message that is cut off, or was never whole"
	}
	if env.Seq > MaxSequence {
		return r, "a compact message with a number beyond the highest"
	}
	if env.Publisher == "" {
		env.Seq, r.Uncertain = 0, ""
	}
	if len(f.text) > 0 {
		env.Payload = unsafe.Slice(unsafe.StringData(f.text), len(f.text)) //nolint:gosec // nobody changes it: envelopes are immutable once delivered
	}
	return r, ""
}

// PutSequence overwrites the number at the index that [Append] returned. It reports false if there
// is no frame.
func PutSequence(doc []byte, at int, seq uint64) bool {
	if at < seqAtStart || !Is(doc[at-seqAtStart:at]) {
		return false
	}
	binary.BigEndian.PutUint64(doc[at:], seq)
	return true
}

// The range of times that an envelope can have, in seconds since 1970: years 1 to 9999.
const (
	firstTime = -62135596800
	lastTime  = 253402300799
)

// MaxHeaders is how many headers an event has, at most.
const MaxHeaders = 4096

// MaxSequence is the highest number there is, so that the one behind a valid one always exists.
const MaxSequence = 1<<64 - 2

// fields reads a compact message from left to right. At what is too short it stops being ok, and
// reads zeros.
type fields struct {
	text string
	ok   bool
}

func (f *fields) take(n uint64) string {
	if !f.ok || n > uint64(len(f.text)) {
		f.ok = false
		return ""
	}
	taken := f.text[:n]
	f.text = f.text[n:]
	return taken
}

func (f *fields) number() (n uint64) {
	for _, c := range []byte(f.take(8)) {
		n = n<<8 | uint64(c)
	}
	return n
}

func (f *fields) byte() byte {
	if taken := f.take(1); f.ok {
		return taken[0]
	}
	return 0
}

func (f *fields) uvarint() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		c := f.byte()
		if shift == 63 && c > 1 {
			break
		}
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	f.ok = false
	return 0
}

func (f *fields) varint() int64 {
	n := f.uvarint()
	return int64(n>>1) ^ -int64(n&1) //nolint:gosec // zigzag: both halves fit
}

func (f *fields) field() string { return f.take(f.uvarint()) }

func (f *fields) headers(env *transport.Envelope) {
	n := f.uvarint()
	if n == 0 || n > MaxHeaders+1 {
		f.ok = false
		return
	}
	if behind := *f; behind.field() == headerType {
		*f = behind
		if name := f.field(); len(name) <= transport.MaxTypeName {
			env.TypeName = name
		}
		n--
	}
	if n == 0 || n > MaxHeaders {
		f.ok = f.ok && n == 0
		return
	}
	var few [2]transport.Header
	list := few[:0] // it grows as they come: how many there are is the message's word
	for range n {
		header := transport.Header{Name: f.field(), Value: f.field()}
		if !f.ok {
			return
		}
		list = append(list, header)
	}
	env.Headers = transport.NewHeaders(list...)
}
