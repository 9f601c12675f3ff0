package wire_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
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
		Headers: transport.HeadersFromMap(map[string]string{"b": "2", "a": "1"}), ContentType: "application/json", Payload: []byte(`{"delay":7}`),
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
	if read, ok := wire.Decode(string(raw), &env); !ok || read != (wire.Reading{Uncertain: "6-7"}) || !same(env, compactGolden.env) {
		t.Errorf("decoded %+v, %+v, %v", env, read, ok)
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
			read, ok := wire.Decode(msg, &back)
			if back.Topic = ""; !ok || !same(back, env) || read != (wire.Reading{Uncertain: uncertain}) {
				t.Fatalf("got  %+v, %+v, %v\nwant %+v\nby %q", back, read, ok, env, msg)
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

// What has the mark and can't be read is no event, and no bare payload.
func TestCompactIsBroken(t *testing.T) {
	whole, _ := wire.AppendCompact(nil, &compactGolden.env, "")
	fixed := len(whole) - len(compactGolden.env.Payload)
	mark, number := "\xc5sb\x01", "\x00\x00\x00\x00\x00\x00\x00\x01"
	broken := []string{
		"\xc5sb\x02" + string(whole[4:]),                                // another version
		mark + number + "\x04" + strings.Repeat("\x00", 5),              // an unknown flag
		mark + strings.Repeat("\xff", 8) + "\x00\x01p\x01i\x00\x00\x00", // a number without a next one
		mark + number + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  // a field of 2⁶⁴ bytes
		mark + number + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",  // and one of more
		mark + number + "\x02\x00\x00\x00\x00\x00\xff\xff\xff\x0fab",    // headers beyond the end
	}
	for n := 3; n < fixed; n++ {
		broken = append(broken, string(whole[:n]))
	}
	for _, msg := range broken {
		var env transport.Envelope
		read, ok := wire.Decode(msg, &env)
		if !ok || !errors.Is(env.Malformed, transport.ErrMalformed) || string(env.Payload) != msg || read != (wire.Reading{}) {
			t.Errorf("%q became %+v, %+v, %v", msg, env, read, ok)
		}
		if env.Malformed, env.Payload = nil, nil; !same(env, transport.Envelope{}) {
			t.Errorf("%q left something behind: %+v", msg, env)
		}
		if _, ok := wire.Document([]byte(msg), "t"); ok {
			t.Errorf("%q became a document", msg)
		}
	}
}

// A time that no envelope can have is left out.
func TestCompactTimes(t *testing.T) {
	for _, tc := range []struct {
		seconds int64
		nanos   uint64
		want    time.Time
	}{
		{0, 999_999_999, time.Unix(0, 999_999_999)},
		{-62135596800, 0, time.Time{}}, // the year 1 begins: it is the zero time, and was read
		{253402300799, 999_999_999, time.Unix(253402300799, 999_999_999)},
		{253402300800, 0, time.Time{}},
		{-62135596801, 999_999_999, time.Time{}},
		{math.MaxInt64, 0, time.Time{}},
		{math.MinInt64, 0, time.Time{}},
		{0, 1_000_000_000, time.Time{}},
	} {
		doc := append([]byte("\xc5sb\x01"), 0, 0, 0, 0, 0, 0, 0, 0, 1)
		doc = binary.AppendUvarint(binary.AppendVarint(doc, tc.seconds), tc.nanos)
		doc = append(doc, 0, 0, 0, 0, 0, 'x')
		var env transport.Envelope
		read, ok := wire.Decode(string(doc), &env)
		absent := tc.want.IsZero() && tc.seconds != -62135596800
		if !ok || env.Malformed != nil || !env.Time.Equal(tc.want) || string(env.Payload) != "x" || (read.Unread == wire.Time) != absent {
			t.Errorf("%d s and %d ns became %+v, %+v, %v", tc.seconds, tc.nanos, env, read, ok)
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
		read, ok := wire.Decode(msg, &env)
		if !ok {
			t.Fatalf("%q was taken for a bare payload", msg)
		}
		if y := env.Time.Year(); y < 1 || y > 9999 {
			t.Fatalf("%q is of the year %d", msg, y)
		}
		if env.Malformed != nil {
			return
		}
		read.Unread = 0
		doc, _ := wire.AppendCompact(nil, &env, read.Uncertain)
		if got, ok := wire.Decode(string(doc), &again); !ok || got != read || !same(env, again) {
			t.Fatalf("%q: %+v became %q: %+v", msg, env, doc, again)
		}
	})
}

func BenchmarkAppendCompact(b *testing.B) {
	env := compactGolden.env
	env.Headers = transport.Headers{}
	var doc []byte
	b.ReportAllocs()
	for b.Loop() {
		doc, _ = wire.AppendCompact(doc[:0], &env, "")
	}
}

func BenchmarkDecodeCompact(b *testing.B) {
	env := compactGolden.env
	env.Headers = transport.Headers{}
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

// TestHeaderCountIsNotBelieved: how many headers a message says it has costs nothing before they are there.
func TestHeaderCountIsNotBelieved(t *testing.T) {
	rest := strings.Repeat("\x00", 8<<20)
	for _, count := range []uint64{wire.MaxHeaders, wire.MaxHeaders + 1, 1 << 22, 1 << 62} {
		head := "\xc5sb\x01" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x02" + "\x01p" + "\x00\x00\x00\x00"
		msg := head + string(binary.AppendUvarint(nil, count)) + rest
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var env transport.Envelope
		wire.Decode(msg, &env)
		runtime.ReadMemStats(&after)
		if read := env.Malformed == nil; read != (count <= wire.MaxHeaders) {
			t.Errorf("%d headers: %v", count, env.Malformed)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%d headers take %d bytes", count, grown)
		}
	}
}

// TestHeadersAreBounded: a document with more headers than there may be is no event, and they take no room.
func TestHeadersAreBounded(t *testing.T) {
	doc := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"specversion":"1.0","id":"1","source":"p","type":"t"`)
		for i := range n {
			fmt.Fprintf(&b, `,"h%d":1`, i)
		}
		b.WriteString(`,"data":1}`)
		return b.String()
	}
	for n, read := range map[int]bool{wire.MaxHeaders: true, wire.MaxHeaders + 1: false, 1 << 20: false} {
		var env transport.Envelope
		wire.Decode(doc(n), &env)
		if (env.Malformed == nil) != read || env.Headers.Len() > wire.MaxHeaders {
			t.Errorf("%d headers: %d are read, %v", n, env.Headers.Len(), env.Malformed)
		}
	}
}
