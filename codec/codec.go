// Package codec turns events into bytes and back.
//
// A topic has one [Codec]; a bus uses it where an event crosses a broker, and not at all where it
// is handed over within a process. [JSON] is the default, [Raw] passes bytes and strings through.
package codec

import "fmt"

// Codec is one format. Implementations must be safe for concurrent use.
type Codec interface {
	// Name identifies the format, for example "json". It is what two topics are compared by, so a
	// codec with other settings needs another name.
	Name() string

	// ContentType is the media type of what Append writes, for example "application/json". It
	// travels with every event, and never changes. A bus refuses topics of a codec whose
	// ContentType is no media type.
	ContentType() string

	// Append appends the encoding of v to dst and returns the longer slice. v is a pointer to the
	// event, never nil; the event must not be changed. On an error the returned slice is dst.
	Append(dst []byte, v any) ([]byte, error)

	// Decode fills v, a pointer to a zero event, from b. It must not keep b or change it, and must
	// return an error, never panic, whatever b holds.
	Decode(b []byte, v any) error
}

// Error is what went wrong in a codec, and in which direction.
type Error struct {
	Codec string // the codec's name
	Op    string // "encode" or "decode"
	Type  string // the Go type of the event
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("codec %s: %s %s: %v", e.Codec, e.Op, e.Type, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// typeName names the event type behind the pointer v.
func typeName(v any) string {
	name := fmt.Sprintf("%T", v)
	if len(name) > 0 && name[0] == '*' {
		return name[1:]
	}
	return name
}
