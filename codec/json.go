package codec

import (
	"bytes"
	"encoding/json"
	"errors"
)

// JSON is encoding/json, with HTML characters left as they are. An empty
// payload and anything after the value are errors.
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
	// Encode ends each value with a newline that belongs to a stream, not to
	// a message.
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

func (c jsonCodec) Decode(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	if len(b) == 0 {
		err = errors.New("empty payload")
	}
	return &Error{Codec: c.Name(), Op: "decode", Type: typeName(v), Err: err}
}
