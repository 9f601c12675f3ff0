package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"pgregory.net/rapid"
)

// golden are documents as docs/wire.md shows them. They are frozen.
var golden = []struct {
	name string
	env  transport.Envelope
	doc  string
}{
	{
		name: "JSON",
		env: transport.Envelope{
			Topic: "flights.departed", Publisher: "7Q3ZK", ID: "7Q3ZK-42", Seq: 42, Key: "SFO",
			Time:        time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC),
			Headers:     transport.HeadersFromMap(map[string]string{"traceparent": "00-4bf9-01", "Content-Language": "de"}),
			ContentType: "application/json", Payload: []byte(`{"origin":"SFO","delay":7}`),
		},
		doc: `{"specversion":"1.0","id":"7Q3ZK-42","source":"7Q3ZK","type":"flights.departed","time":"2026-03-01T12:00:00.25Z",` +
			`"sequence":"00000000000000000042","partitionkey":"SFO","datacontenttype":"application/json","traceparent":"00-4bf9-01",` +
			`"shardbusmore":"Content-Language=de","data":{"origin":"SFO","delay":7}}`,
	},
	{
		name: "binary",
		env: transport.Envelope{
			Topic: "blobs", Publisher: "7Q3ZK", ID: "b\x00\xff", Seq: 1, Key: "k\n",
			ContentType: "application/octet-stream", Payload: []byte{0, 1, 254, 255},
		},
		doc: `{"specversion":"1.0","id":"-","source":"7Q3ZK","type":"blobs","sequence":"00000000000000000001",` +
			`"datacontenttype":"application/octet-stream","shardbusmore":":id=b%00%FF&:key=k%0A","data_base64":"AAH+/w=="}`,
	},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			doc, _ := wire.Append(nil, &g.env, "")
			if string(doc) != g.doc {
				t.Errorf("encoded\n%s\nwant\n%s", doc, g.doc)
			}
			var env transport.Envelope
			read, ok := wire.Decode(g.doc, &env)
			env.Topic = g.env.Topic
			if !ok || read.Unread != 0 || !same(env, g.env) {
				t.Errorf("decoded %+v, want %+v", env, g.env)
			}
		})
	}
}

func TestForeignDocuments(t *testing.T) {
	var env transport.Envelope
	_, ok := wire.Decode(" {\"specversion\" : \"1.0\" ,\"id\":\"1\",\"source\":\"/app\",\"type\":\"t\",\"sequence\":\"7\","+
		`"n":12,"b":true,"x":null,"o":{"a":[1,"]"]},"datacontenttype":"text/plain","data":"caf\u00e9 \ud83d\ude00"}`+"\n", &env)
	if !ok {
		t.Fatal("refused")
	}
	want := transport.Envelope{
		Publisher: "/app", ID: "1", ContentType: "text/plain", Payload: []byte("café 😀"),
		Headers: transport.HeadersFromMap(map[string]string{"sequence": "7", "n": "12", "b": "true"}),
	}
	if !same(env, want) {
		t.Errorf("%+v, want %+v", env, want)
	}
}

func TestBarePayloads(t *testing.T) {
	for _, msg := range []string{
		"", " ", "hello", `{"origin":"SFO"}`, `[1]`, `{}`, `{"origin":`, "\xff", `{"origin":"` + "\xff" + `"}`,
		"\ufeff" + `{"origin":"SFO"}`, strings.Repeat("[", 1<<20), `{"a":` + strings.Repeat("[", 1<<20),
		`{"a":{"specversion":"1.0"}}`, `["specversion"]`, `[[{"specversion":"1.0"}]]`, "\xc5s", "\xc5xb\x01",
	} {
		var env transport.Envelope
		if _, ok := wire.Decode(msg, &env); ok {
			t.Errorf("%.60q was taken for more than a payload: %+v", msg, env)
		} else if !same(env, transport.Envelope{}) {
			t.Errorf("%.60q left something behind: %+v", msg, env)
		}
	}
}

// What has no number must not count as what has, or its loss is told to nobody.
func TestSequenced(t *testing.T) {
	doc := func(rest string) string {
		return `{"specversion":"1.0","id":"1","source":"/x","type":"t",` + rest + `}`
	}
	for msg, want := range map[string]bool{
		golden[0].doc: true, doc(`"data":1`): false, doc(`"sequence":"7"`): false, doc(`"sequence":7`): false, doc(`"sequence":{}`): false,
		doc(`"sequence":"00000000000000000007"`): true, doc(`"sequence" : "00000000000000000007"`): true, doc(`"sequence":"00000000000000000000"`): false,
		doc(`"data":{"sequence":"00000000000000000007"}`): false, `{"sequence":"00000000000000000007"}`: false, "sequence": false, "": false,
		"\xc5sb\x01\x00\x00\x00\x00\x00\x00\x00\x07": false, // cut off
	} {
		if got := wire.Sequenced(msg); got != want {
			t.Errorf("%q: %v", msg, got)
		}
	}
}

// anything draws text, printable or not, and bytes that are no text.
func anything() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z0-9]{1,24}`),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"-", "", "id", "data", ":id", "a=b&c", "\u007f", "\ufffe", `"\`}),
	)
}

func payload() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 40),
		rapid.Map(anything(), func(s string) []byte { return []byte(s) }),
		rapid.SampledFrom([][]byte{nil, []byte(`{"a":[1,-2.5e+3,"\u00e9",null,true]}`), []byte("null"), []byte(" 1"), []byte("1\n"), []byte("01"), []byte(`"\x"`)}),
	)
}

func envelope() *rapid.Generator[transport.Envelope] {
	return rapid.Custom(func(t *rapid.T) transport.Envelope {
		env := transport.Envelope{
			Topic:       rapid.StringMatching(`[A-Za-z0-9._:-]{1,20}`).Draw(t, "topic"),
			Publisher:   anything().Draw(t, "publisher"),
			ID:          anything().Draw(t, "id"),
			Key:         anything().Draw(t, "key"),
			Headers:     transport.HeadersFromMap(rapid.MapOfN(anything(), anything(), 0, 4).Draw(t, "header")),
			ContentType: rapid.OneOf(anything(), rapid.SampledFrom([]string{"application/json", "text/json; charset=utf-8", "application/x+json"})).Draw(t, "type"),
			TypeName:    anything().Draw(t, "type name"),
			Payload:     payload().Draw(t, "payload"),
		}
		if env.Publisher != "" {
			env.Seq = rapid.Uint64Range(1, 1<<64-2).Draw(t, "seq")
		}
		if rapid.Bool().Draw(t, "timed") {
			env.Time = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns"))
		}
		return env
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		env := envelope().Draw(t, "envelope")
		uncertain := ""
		if env.Publisher != "" {
			uncertain = rapid.SampledFrom([]string{"", "3,5-7"}).Draw(t, "uncertain")
		}
		blank := env
		blank.Seq = 0
		doc, at := wire.Append([]byte("x"), &blank, uncertain)
		if (at < 0) != (env.Publisher == "") {
			t.Fatalf("index %d for publisher %q", at, env.Publisher)
		}
		if at >= 0 {
			wire.PutSequence(doc, at, env.Seq)
		}
		doc = doc[1:]
		if !json.Valid(doc) {
			t.Fatalf("no JSON: %q", doc)
		}
		var back transport.Envelope
		read, ok := wire.Decode(string(doc), &back)
		if !ok || back.Malformed != nil || read.Unread != 0 {
			t.Fatalf("refused %q", doc)
		}
		back.Topic = env.Topic
		if !same(back, env) || read.Uncertain != uncertain {
			t.Fatalf("got  %+v\nwant %+v\nby %s", back, env, doc)
		}
	})
}

// same compares envelopes; an absent payload or header is as good as an empty one.
func same(a, b transport.Envelope) bool {
	if !bytes.Equal(a.Payload, b.Payload) || !a.Headers.Equal(b.Headers) || !a.Time.Equal(b.Time) {
		return false
	}
	return (a.Malformed == nil) == (b.Malformed == nil) && a.Topic == b.Topic && a.Publisher == b.Publisher && a.ID == b.ID && a.Seq == b.Seq && a.Key == b.Key &&
		a.ContentType == b.ContentType && a.TypeName == b.TypeName
}

// FuzzDecode: a document is valid JSON, unless it is compact, and what it says survives being encoded again.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add(g.doc)
	}
	f.Add(`{"specversion":"1.0","id":"\ud800","source":"s","type":"t","n":-0.5e1,"data":[{}]}`)
	f.Fuzz(func(t *testing.T, msg string) {
		var env transport.Envelope
		if _, ok := wire.Decode(msg, &env); !ok || env.Malformed != nil {
			return
		}
		if !json.Valid([]byte(strings.TrimPrefix(msg, "\ufeff"))) && !strings.HasPrefix(msg, "\xc5sb\x01") {
			t.Fatalf("%q is no JSON", msg)
		}
		env.Topic = "t"
		doc, _ := wire.Append(nil, &env, "")
		var again transport.Envelope
		if _, ok := wire.Decode(string(doc), &again); !ok || again.Malformed != nil {
			t.Fatalf("%q became %q, which is no document: %v", msg, doc, again.Malformed)
		}
		again.Topic = "t"
		if !same(env, again) {
			t.Fatalf("%q: %+v became %+v", msg, env, again)
		}
	})
}

func FuzzDecodeWatermark(f *testing.F) {
	doc, err := wire.AppendWatermark(nil, wire.Watermark{Publisher: "p", Streams: []wire.Mark{{Channel: "c", Last: 7, AgeMillis: 3, Uncertain: "2"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(doc))
	f.Fuzz(func(t *testing.T, msg string) {
		if w, err := wire.DecodeWatermark(msg); err == nil && w.Publisher == "" {
			t.Fatal("a watermark of nobody")
		}
	})
}

func TestWatermarkRoundTrip(t *testing.T) {
	want := wire.Watermark{Publisher: "p", Final: true, Streams: []wire.Mark{{Channel: "c", Last: 7, AgeMillis: 3, Uncertain: "2"}, {Channel: "d", Last: 1}}}
	doc, err := wire.AppendWatermark(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeWatermark(string(doc))
	if err != nil {
		t.Fatal(err)
	}
	if got.Publisher != want.Publisher || !got.Final || len(got.Streams) != 2 || got.Streams[0] != want.Streams[0] || got.Streams[1] != want.Streams[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func BenchmarkAppend(b *testing.B) {
	env := golden[0].env
	env.Headers = transport.Headers{}
	var doc []byte
	b.ReportAllocs()
	for b.Loop() {
		doc, _ = wire.Append(doc[:0], &env, "")
	}
}

func BenchmarkDecode(b *testing.B) {
	env := golden[0].env
	env.Headers = transport.Headers{}
	doc, _ := wire.Append(nil, &env, "")
	msg := string(doc)
	var back transport.Envelope
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := wire.Decode(msg, &back); !ok {
			b.Fatal("refused")
		}
	}
}
