package codec

import (
	"encoding/json"
	"errors"
)

// Raw passes the payload through untouched. Events must be []byte, string or json.RawMessage.
// Decode copies, so that an event never shares memory with a transport's buffers.
var Raw Codec = rawCodec{}

var errNotRaw = errors.New("the raw codec takes []byte, string and json.RawMessage")

type rawCodec struct{}

func (rawCodec) Name() string        { return "raw" }
func (rawCodec) ContentType() string { return "application/octet-stream" }

func (c rawCodec) Append(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case *[]byte:
		return append(dst, *v...), nil
	case *string:
		return append(dst, *v...), nil
	case *json.RawMessage:
		return append(dst, *v...), nil
	}
	return dst, &Error{Codec: c.Name(), Op: "encode", Type: typeName(v), Err: errNotRaw}
}

func (c rawCodec) Decode(b []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = append([]byte(nil), b...)
	case *string:
		*v = string(b)
	case *json.RawMessage:
		*v = append(json.RawMessage(nil), b...)
	default:
		return &Error{Codec: c.Name(), Op: "decode", Type: typeName(v), Err: errNotRaw}
	}
	return nil
}
