// Package record is how a file log writes its values and keys. Each value begins with a checksum of
// the rest and a version: bbolt has no checksums for data pages. It is pure.
package record

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Format is the version of values.
const Format = 1

// headLength is the checksum and the version.
const headLength = 5

var table = crc32.MakeTable(crc32.Castagnoli)

// begin begins a value, which seal ends.
func begin(size int) []byte { return append(make([]byte, 0, headLength+size), 0, 0, 0, 0, Format) }

// seal writes the checksum of a value.
func seal(value []byte) []byte {
	binary.BigEndian.PutUint32(value, crc32.Checksum(value[4:], table))
	return value
}

// Sound reports whether a value is as it was written, in this version.
func Sound(value []byte) bool {
	return len(value) >= headLength && value[4] == Format && binary.BigEndian.Uint32(value) == crc32.Checksum(value[4:], table)
}

// unseal is what a value holds.
func unseal(value []byte) (reader, bool) {
	if !Sound(value) {
		return reader{}, false
	}
	return reader{src: value[headLength:], ok: true}, true
}

// reader reads fields from left to right. At what is too short it stops being ok, and reads zeros.
type reader struct {
	src []byte
	ok  bool
}

// done reports whether all was read, and nothing more is there.
func (r *reader) done() bool { return r.ok && len(r.src) == 0 }

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.src)) {
		r.src, r.ok = nil, false
		return nil
	}
	taken := r.src[:n:n]
	r.src = r.src[n:]
	return taken
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src)
	if n <= 0 {
		r.src, r.ok = nil, false
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) int() int {
	v := r.uvarint()
	if v > 1<<31-1 {
		r.ok = false
		return 0
	}
	return int(v) //nolint:gosec // checked
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) flag() bool {
	b := r.take(1)
	return len(b) == 1 && b[0] != 0
}

// time reads what appendTime wrote.
func (r *reader) time() time.Time {
	b := r.take(8)
	if len(b) != 8 {
		return time.Time{}
	}
	return timeOf(binary.BigEndian.Uint64(b))
}

// timeOf is the time of a number of nanoseconds since 1970; 0 is the zero time.
func timeOf(nanos uint64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanos)) //nolint:gosec // as it was written
}

// nanos is the number of a time. Times before 1970 are 1, and those beyond the year 2262 the last.
func nanos(t time.Time) uint64 {
	switch {
	case t.IsZero():
		return 0
	case t.Unix() < 0:
		return 1
	case t.Year() > 2261:
		return 1<<63 - 1
	}
	return uint64(t.UnixNano()) //nolint:gosec // positive
}

func appendTime(dst []byte, t time.Time) []byte { return binary.BigEndian.AppendUint64(dst, nanos(t)) }

func appendBytes[T string | []byte](dst []byte, field T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(field))), field...)
}

func appendInt(dst []byte, n int) []byte {
	return binary.AppendUvarint(dst, uint64(max(0, n))) //nolint:gosec // not negative
}

func appendFlag(dst []byte, set bool) []byte {
	if set {
		return append(dst, 1)
	}
	return append(dst, 0)
}
