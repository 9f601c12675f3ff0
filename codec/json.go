package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
)

// JSON is encoding/json, with HTML characters left as they are. An empty payload and anything after
// the value are errors, and so is null for a type that has no such value, which encoding/json takes
// for a zero one.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string        { return "json" }
func (jsonCodec) ContentType() string { return "application/json" }

func (c jsonCodec) Append(dst []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, &Error{Codec: c.Name(), Op: "encode", Type: typeName(v), Err: err}
	}
	// Encode ends each value with a newline that belongs to a stream, not to a message.
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

func (c jsonCodec) Decode(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	switch {
	case err == nil && !isNull(b):
		return nil
	case err == nil && hasNull(v):
		return nil
	case err == nil:
		err = errors.New("null is no event")
	case len(b) == 0:
		err = errors.New("empty payload")
	}
	return &Error{Codec: c.Name(), Op: "decode", Type: typeName(v), Err: err}
}

// isNull tells whether b, which is JSON, is null.
func isNull(b []byte) bool {
	const null = "null"
	if n := len(b); n < len(null) || b[0] == '{' || b[0] == '[' {
		return false
	}
	return string(bytes.TrimSpace(b)) == null
}

// hasNull tells whether null stands for a value of the type behind the pointer v: nil, or what its
// own UnmarshalJSON makes of it.
func hasNull(v any) bool {
	if _, own := v.(json.Unmarshaler); own {
		return true
	}
	switch reflect.TypeOf(v).Elem().Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	default:
		return false
	}
}
