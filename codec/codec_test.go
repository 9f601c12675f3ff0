package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/codec"
)

// events makes, for each codec of the package, events of the types it takes: a pointer to one, and
// a pointer to a zero one.
var events = map[codec.Codec]*rapid.Generator[[2]any]{
	codec.JSON: rapid.OneOf(
		pair(rapid.Custom(func(t *rapid.T) flight {
			return flight{
				Date: text.Draw(t, "date"), Delay: rapid.Int().Draw(t, "delay"), Distance: rapid.Float64().Draw(t, "distance"),
				Stops: rapid.SliceOf(text).Draw(t, "stops"), Raw: rapid.SliceOf(rapid.Byte()).Draw(t, "raw"),
			}
		})),
		pair(text), pair(rapid.Int64()), pair(rapid.Bool()), pair(rapid.MapOf(text, rapid.Uint8())),
	),
	codec.Raw: rapid.OneOf(
		pair(rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })),
		pair(rapid.SliceOf(rapid.Byte())),
		pair(rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) rawMessage { return b })),
	),
}

// text is what survives JSON: valid UTF-8.
var text = rapid.String()

func pair[T any](g *rapid.Generator[T]) *rapid.Generator[[2]any] {
	return rapid.Map(g, func(v T) [2]any { return [2]any{&v, new(T)} })
}

// The rules of Codec that hold for every codec.

func TestRoundTrip(t *testing.T) {
	for c, gen := range events {
		t.Run(c.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				event := gen.Draw(t, "event")
				in, out := event[0], event[1]
				b, err := c.Append(nil, in)
				if err != nil {
					t.Fatal(err)
				}
				payload := bytes.Clone(b)
				if err := c.Decode(b, out); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b, payload) {
					t.Fatal("Decode changed the payload")
				}
				if got, want := printed(out), printed(in); got != want {
					t.Fatalf("%s came back as %s", want, got)
				}
			})
		})
	}
}

// Append appends, and leaves what stands before.
func TestAppend(t *testing.T) {
	for c, gen := range events {
		t.Run(c.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				in := gen.Draw(t, "event")[0]
				prefix := rapid.SliceOf(rapid.Byte()).Draw(t, "prefix")
				dst := append(make([]byte, 0, len(prefix)+rapid.IntRange(0, 100).Draw(t, "spare")), prefix...)
				alone, err := c.Append(nil, in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Append(dst, in)
				if err != nil {
					t.Fatal(err)
				}
				if want := append(bytes.Clone(prefix), alone...); !bytes.Equal(got, want) {
					t.Fatalf("appended to %q: %q, want %q", prefix, got, want)
				}
			})
		})
	}
}

// Decode does not keep the payload: a transport uses its buffer again.
func TestDecodeCopies(t *testing.T) {
	for c, gen := range events {
		t.Run(c.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				event := gen.Draw(t, "event")
				b, err := c.Append(nil, event[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Decode(b, event[1]); err != nil {
					t.Fatal(err)
				}
				before := printed(event[1])
				for i := range b {
					b[i] ^= 0xff
				}
				if after := printed(event[1]); after != before {
					t.Fatalf("%s became %s with the payload", before, after)
				}
			})
		})
	}
}

// Encoding does not share memory with the event either.
func TestAppendCopies(t *testing.T) {
	event := []byte("event")
	b, err := codec.Raw.Append(nil, &event)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = 'E'
	if string(event) != "event" {
		t.Errorf("the event became %q with its payload", event)
	}
}

func TestErrors(t *testing.T) {
	type account struct{ Balance float64 }
	for name, tc := range map[string]struct {
		c       codec.Codec
		v       any
		decode  string
		op, typ string
		text    string // "" is whatever encoding/json says
	}{
		"json, not encodable":  {c: codec.JSON, v: &account{math.NaN()}, op: "encode", typ: "codec_test.account"},
		"json, no format":      {c: codec.JSON, v: new(func()), op: "encode", typ: "func()"},
		"json, not JSON":       {c: codec.JSON, v: &account{}, decode: "{", op: "decode", typ: "codec_test.account"},
		"json, another type":   {c: codec.JSON, v: &account{}, decode: `{"Balance":"much"}`, op: "decode", typ: "codec_test.account"},
		"json, trailing value": {c: codec.JSON, v: &account{}, decode: `{} {}`, op: "decode", typ: "codec_test.account"},
		"json, trailing byte":  {c: codec.JSON, v: &account{}, decode: "{}\x00", op: "decode", typ: "codec_test.account"},
		"json, empty": {
			c: codec.JSON, v: &account{}, op: "decode", typ: "codec_test.account",
			text: "codec json: decode codec_test.account: empty payload",
		},
		"raw, no bytes": {
			c: codec.Raw, v: &account{}, op: "encode", typ: "codec_test.account",
			text: "codec raw: encode codec_test.account: the raw codec takes []byte, string and json.RawMessage",
		},
		"raw, into no bytes": {
			c: codec.Raw, v: new(int), decode: "12", op: "decode", typ: "int",
			text: "codec raw: decode int: the raw codec takes []byte, string and json.RawMessage",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if tc.op == "encode" {
				dst := append(make([]byte, 0, 1000), "before"...)
				var got []byte
				got, err = tc.c.Append(dst, tc.v)
				if string(got) != "before" || &got[0] != &dst[0] {
					t.Errorf("with the error came %q, want dst", got)
				}
			} else {
				err = tc.c.Decode([]byte(tc.decode), tc.v)
			}
			var e *codec.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Codec != tc.c.Name() || e.Op != tc.op || e.Type != tc.typ || e.Err == nil {
				t.Errorf("error %+v", e)
			}
			if tc.text != "" && err.Error() != tc.text {
				t.Errorf("error %q, want %q", err, tc.text)
			}
			if !errors.Is(err, e.Err) {
				t.Error("the cause is not behind the error")
			}
		})
	}
}

// Codecs are values for all goroutines.
func TestConcurrent(t *testing.T) {
	var all sync.WaitGroup
	for _, c := range []codec.Codec{codec.JSON, codec.Raw} {
		for i := range 4 {
			all.Go(func() {
				for n := range 200 {
					in, out := fmt.Sprint(c.Name(), i, n), ""
					b, err := c.Append(nil, &in)
					if err == nil {
						err = c.Decode(b, &out)
					}
					if err != nil || out != in {
						t.Errorf("%q came back as %q: %v", in, out, err)
					}
				}
			})
		}
	}
	all.Wait()
}
