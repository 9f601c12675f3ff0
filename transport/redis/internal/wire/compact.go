package wire

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// compactMark begins every compact message. No text does, as its first two bytes are no UTF-8; its last is the version.
const (
	compactMark   = compactFamily + "\x01"
	compactFamily = "\xc5sb" // of every version
)

// compactSequence is where the number stands: 8 bytes, the highest first.
const compactSequence = len(compactMark)

// Flags behind the number.
const (
	compactTimed  = 1 << iota // the time follows
	compactHeader             // headers follow the fields
	compactKnown  = compactTimed | compactHeader
)

// AppendCompact is Append in the compact form of docs/wire.md.
func AppendCompact(dst []byte, env *transport.Envelope, uncertain string) (doc []byte, seqAt int) {
	doc = slices.Grow(dst, len(env.Payload)+len(env.ID)+len(env.Publisher)+len(env.Key)+len(env.ContentType)+len(uncertain)+48)
	doc = append(doc, compactMark...)
	seqAt = len(doc)
	if env.Publisher == "" {
		doc, seqAt, uncertain = append(doc, make([]byte, 8)...), -1, ""
	} else {
		doc = binary.BigEndian.AppendUint64(doc, env.Seq)
	}
	var flags byte
	if !env.Time.IsZero() {
		flags |= compactTimed
	}
	typeName, typed := compactTypeName(env)
	if len(env.Headers) > 0 || typed {
		flags |= compactHeader
	}
	doc = append(doc, flags)
	if flags&compactTimed != 0 {
		doc = binary.AppendVarint(doc, env.Time.Unix())
		doc = binary.AppendUvarint(doc, uint64(env.Time.Nanosecond())) //nolint:gosec // 0 to 999,999,999
	}
	for _, field := range [...]string{env.Publisher, env.ID, env.Key, env.ContentType, uncertain} {
		doc = appendField(doc, field)
	}
	if flags&compactHeader != 0 {
		n := len(env.Headers)
		if typed {
			n++
		}
		doc = binary.AppendUvarint(doc, uint64(n))
		if typed {
			doc = appendField(appendField(doc, headerType), typeName)
		}
		if len(env.Headers) == 0 {
			return append(doc, env.Payload...), seqAt
		}
		names := make([]string, 0, len(env.Headers))
		for name := range env.Headers {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			doc = appendField(appendField(doc, name), env.Headers[name])
		}
	}
	return append(doc, env.Payload...), seqAt
}

// headerType is what the first header is called if it is no header, but the name of the event's type: the flags and fields
// are frozen. Only the first: any other of that name is a header.
const headerType = ":type"

// compactTypeName is what the first header says, if it is to be that of the type: also where there is no type, and a
// header would be taken for it.
func compactTypeName(env *transport.Envelope) (name string, typed bool) {
	if env.TypeName != "" && len(env.TypeName) <= transport.MaxTypeName {
		return env.TypeName, true
	}
	_, typed = env.Headers[headerType]
	return "", typed
}

func appendField(doc []byte, field string) []byte {
	return append(binary.AppendUvarint(doc, uint64(len(field))), field...)
}

// putCompactSequence is PutSequence for a compact message.
func putCompactSequence(doc []byte, at int, seq uint64) { binary.BigEndian.PutUint64(doc[at:], seq) }

// isCompact reports whether a message is meant to be compact, in whatever version.
func isCompact[T string | []byte](msg T) bool {
	return len(msg) >= len(compactFamily) && string(msg[:len(compactFamily)]) == compactFamily
}

// decodeCompact is Decode for a message that is meant to be compact.
func decodeCompact(msg string, env *transport.Envelope) Reading {
	r, why := readCompact(msg, env)
	if why != "" {
		*env = transport.Envelope{} // nothing of it can be trusted
		malform(env, msg, "%s", why)
		return Reading{}
	}
	return r
}

// readCompact fills env, or says why it can't.
func readCompact(msg string, env *transport.Envelope) (r Reading, why string) {
	if len(msg) < len(compactMark) || msg[:len(compactMark)] != compactMark {
		return r, "a compact message of another version than 1"
	}
	f := fields{text: msg[compactSequence:], ok: true}
	env.Seq = f.number()
	flags := f.byte()
	if flags&^compactKnown != 0 {
		return r, "a compact message with unknown flags"
	}
	if flags&compactTimed != 0 {
		seconds, nanos := f.varint(), f.uvarint()
		if nanos < uint64(time.Second) && seconds >= firstTime && seconds <= lastTime {
			env.Time = time.Unix(seconds, int64(nanos)).UTC()
		} else {
			r.Unread = Time
		}
	}
	env.Publisher, env.ID, env.Key, env.ContentType, r.Uncertain = f.field(), f.field(), f.field(), f.field(), f.field()
	if flags&compactHeader != 0 {
		f.headers(env)
	}
	if !f.ok {
		return r, "a compact message that is cut off, or was never whole"
	}
	if env.Seq > maxSequence {
		return r, "a compact message with a number beyond the highest"
	}
	if env.Publisher == "" {
		env.Seq, r.Uncertain = 0, ""
	}
	if len(f.text) > 0 {
		env.Payload = Bytes(f.text)
	}
	return r, ""
}

// MaxHeaders is how many headers an event has, at most.
const MaxHeaders = 4096

// maxSequence is the highest number there is, so that the one behind a valid one always exists.
const maxSequence = 1<<64 - 2

// fields reads a compact message from left to right. At what is too short it stops being ok, and reads zeros.
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
	env.Headers = make(map[string]string, min(n, 16)) // how many there are is the message's word
	for range n {
		name := f.field()
		env.Headers[name] = f.field()
		if !f.ok {
			return
		}
	}
}

// Document returns the CloudEvents document of a compact message, with the topic that the channel is of. It is false for
// any other message.
func Document(msg []byte, channel string) (doc []byte, ok bool) {
	if !isCompact(msg) {
		return nil, false
	}
	var env transport.Envelope
	r, why := readCompact(string(msg), &env)
	if why != "" {
		return nil, false
	}
	if env.Topic, _, ok = router.ParseChannel(channel); !ok {
		env.Topic = channel
	}
	doc, _ = Append(nil, &env, r.Uncertain)
	return doc, true
}
