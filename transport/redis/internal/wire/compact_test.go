package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"pgregory.net/rapid"
)

// compactGolden is the example of docs/wire.md. It is frozen.
var compactGolden = struct {
	env transport.Envelope
	hex string
}{
	env: transport.Envelope{
		Publisher: "7Q3ZK", ID: "7Q3ZK-42", Seq: 42, Key: "SFO", Time: time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC),
		Header: map[string]string{"b": "2", "a": "1"}, ContentType: "application/json", Payload: []byte(`{"delay":7}`),
	},
	hex: "c5736201 000000000000002a 03 80a9a19a0d 80e59a77 0537 51335a4b 08 3751335a4b2d3432 03 53464f 10 6170706c69636174696f6e2f6a736f6e " +
		"03 362d37 02 0161 0131 0162 0132 7b2264656c6179223a377d",
}

func TestCompactGolden(t *testing.T) {
	want := strings.ReplaceAll(compactGolden.hex, " ", "")
	doc, _ := wire.AppendCompact(nil, &compactGolden.env, "6-7")
	if got := hex.EncodeToString(doc); got != want {
		t.Errorf("encoded\n%s\nwant\n%s", got, want)
	}
	raw, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	var env transport.Envelope
	if uncertain, ok := wire.Decode(string(raw), &env); !ok || uncertain != "6-7" || !same(env, compactGolden.env) {
		t.Errorf("decoded %+v, %q, %v", env, uncertain, ok)
	}
}

func TestCompactRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		env := envelope().Draw(t, "envelope")
		env.Topic = ""
		uncertain := ""
		if env.Publisher != "" {
			uncertain = rapid.SampledFrom([]string{"", "3,5-7"}).Draw(t, "uncertain")
		}
		blank := env
		blank.Seq = 0
		doc, at := wire.AppendCompact([]byte("before"), &blank, uncertain)
		if (at < 0) != (env.Publisher == "") {
			t.Fatalf("index %d for publisher %q", at, env.Publisher)
		}
		if at >= 0 {
			wire.PutSequence(doc, at, env.Seq)
		}
		doc = doc[len("before"):]
		if wire.Sequenced(string(doc)) != (env.Seq != 0) {
			t.Fatalf("%d is not seen at a glance", env.Seq)
		}
		check := func(msg string) {
			var back transport.Envelope
			gotUncertain, ok := wire.Decode(msg, &back)
			if back.Topic = ""; !ok || !same(back, env) || gotUncertain != uncertain {
				t.Fatalf("got  %+v, %q, %v\nwant %+v\nby %q", back, gotUncertain, ok, env, msg)
			}
		}
		check(string(doc))
		text, ok := wire.Document(doc, "topic")
		if !ok || !json.Valid(text) {
			t.Fatalf("%q became %q", doc, text)
		}
		check(string(text))
	})
}

func TestCompactIsBroken(t *testing.T) {
	whole, _ := wire.AppendCompact(nil, &compactGolden.env, "")
	fixed := len(whole) - len(compactGolden.env.Payload)
	for n := range fixed {
		var env transport.Envelope
		if _, ok := wire.Decode(string(whole[:n]), &env); ok || !same(env, transport.Envelope{}) {
			t.Errorf("%d of %d bytes were taken for a message: %+v", n, len(whole), env)
		}
	}
	mark, number := "\xc5sb\x01", "\x00\x00\x00\x00\x00\x00\x00\x01"
	for _, msg := range []string{
		"\xc5sb\x02" + string(whole[4:]),                                // another version
		mark + number + "\x04" + strings.Repeat("\x00", 5),              // an unknown flag
		mark + strings.Repeat("\xff", 8) + "\x00\x01p\x01i\x00\x00\x00", // a number without a next one
		mark + number + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  // a field of 2⁶⁴ bytes
		mark + number + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",  // and one of more
		mark + number + "\x02\x00\x00\x00\x00\x00\xff\xff\xff\x0fab",    // headers beyond the end
		mark + number + "\x01\x00\xff\xff\xff\xff\x0f\x00\x00\x00\x00\x00",
	} {
		var env transport.Envelope
		if _, ok := wire.Decode(msg, &env); ok {
			t.Errorf("%q was taken for a message: %+v", msg, env)
		}
		if _, ok := wire.Document([]byte(msg), "t"); ok {
			t.Errorf("%q became a document", msg)
		}
	}
}

// FuzzDecodeCompact: what a compact message says survives being encoded again.
func FuzzDecodeCompact(f *testing.F) {
	doc, _ := wire.AppendCompact(nil, &compactGolden.env, "6-7")
	f.Add(string(doc))
	bare, _ := wire.AppendCompact(nil, &transport.Envelope{Payload: []byte("x")}, "")
	f.Add(string(bare))
	f.Fuzz(func(t *testing.T, msg string) {
		msg = "\xc5sb\x01" + strings.TrimPrefix(msg, "\xc5sb\x01")
		var env, again transport.Envelope
		uncertain, ok := wire.Decode(msg, &env)
		if !ok {
			return
		}
		doc, _ := wire.AppendCompact(nil, &env, uncertain)
		if got, ok := wire.Decode(string(doc), &again); !ok || got != uncertain || !same(env, again) {
			t.Fatalf("%q: %+v became %q: %+v", msg, env, doc, again)
		}
	})
}

func BenchmarkAppendCompact(b *testing.B) {
	env := compactGolden.env
	env.Header = nil
	var doc []byte
	b.ReportAllocs()
	for b.Loop() {
		doc, _ = wire.AppendCompact(doc[:0], &env, "")
	}
}

func BenchmarkDecodeCompact(b *testing.B) {
	env := compactGolden.env
	env.Header = nil
	doc, _ := wire.AppendCompact(nil, &env, "")
	msg := string(doc)
	var back transport.Envelope
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := wire.Decode(msg, &back); !ok {
			b.Fatal("refused")
		}
	}
}
