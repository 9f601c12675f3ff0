package codec_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/shardbus/shardbus/codec"
)

type rawMessage = json.RawMessage

func TestRaw(t *testing.T) {
	if name, typ := codec.Raw.Name(), codec.Raw.ContentType(); name != "raw" || typ != "application/octet-stream" {
		t.Errorf("it is %s, %s", name, typ)
	}
}

// Nothing is an event like any other.
func TestRawEmpty(t *testing.T) {
	for _, payload := range [][]byte{nil, {}} {
		s, b, m := "old", []byte("old"), json.RawMessage("old")
		for _, v := range []any{&s, &b, &m} {
			if err := codec.Raw.Decode(payload, v); err != nil {
				t.Error(err)
			}
		}
		if s != "" || len(b) != 0 || len(m) != 0 {
			t.Errorf("decoded %q, %q, %q", s, b, m)
		}
	}
}

// A type of its own is not one of the three: the pointer says so.
func TestRawNamedType(t *testing.T) {
	type token []byte
	if _, err := codec.Raw.Append(nil, &token{1}); err == nil {
		t.Error("a named type was encoded")
	}
}

// Whatever bytes come are the event.
func FuzzRawDecode(f *testing.F) {
	for _, seed := range []string{"", "\x00", "plain text", "\xff\xfe", `{"json":true}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		var s string
		var b []byte
		var m json.RawMessage
		for _, v := range []any{&s, &b, &m} {
			if err := codec.Raw.Decode(payload, v); err != nil {
				t.Fatal(err)
			}
			out, err := codec.Raw.Append(nil, v)
			if err != nil || !bytes.Equal(out, before) {
				t.Fatalf("%T: %q came back as %q: %v", v, before, out, err)
			}
		}
		for i := range payload {
			payload[i]++
		}
		if s != string(before) || !bytes.Equal(b, before) || !bytes.Equal(m, before) {
			t.Fatal("the event changed with the payload")
		}
	})
}
