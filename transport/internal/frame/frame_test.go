package frame_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/frame"
	"pgregory.net/rapid"
)

// golden is the example of docs/wire.md. It is frozen.
const golden = "c5736201 000000000000002a 03 80a9a19a0d 80e59a77 0537 51335a4b 08 3751335a4b2d3432 03 53464f 10 6170706c69636174696f6e2f6a736f6e " +
	"03 362d37 02 0161 0131 0162 0132 7b2264656c6179223a377d"

func goldenEvent() transport.Envelope {
	return transport.Envelope{
		Publisher: "7Q3ZK", ID: "7Q3ZK-42", Seq: 42, Key: "SFO", Time: time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC),
		Headers: transport.HeadersFromMap(map[string]string{"b": "2", "a": "1"}), ContentType: "application/json", Payload: []byte(`{"delay":7}`),
	}
}

func equal(a, b transport.Envelope) bool {
	return a.Publisher == b.Publisher && a.ID == b.ID && a.Seq == b.Seq && a.Key == b.Key && a.Time.Equal(b.Time) && a.TypeName == b.TypeName &&
		a.Headers.Equal(b.Headers) && a.ContentType == b.ContentType && string(a.Payload) == string(b.Payload)
}

func TestGolden(t *testing.T) {
	env := goldenEvent()
	doc, at := frame.Append(nil, &env, "6-7")
	want, err := hex.DecodeString(strings.ReplaceAll(golden, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if string(doc) != string(want) || !frame.Is(doc) || at != 4 {
		t.Errorf("encoded\n%x\nwant\n%x", doc, want)
	}
	var got transport.Envelope
	if r, why := frame.Read(string(want), &got); why != "" || r != (frame.Reading{Uncertain: "6-7"}) || !equal(got, env) {
		t.Errorf("%+v, %+v, %q", got, r, why)
	}
}

// TestRoundTrip: what is read is what was written, with the number that was put in later.
func TestRoundTrip(t *testing.T) {
	text := rapid.StringN(0, 20, 40)
	rapid.Check(t, func(t *rapid.T) {
		env := transport.Envelope{
			Publisher: rapid.StringN(1, 10, 20).Draw(t, "publisher"), ID: text.Draw(t, "id"), Key: text.Draw(t, "key"),
			ContentType: text.Draw(t, "content type"), TypeName: text.Draw(t, "type"),
			Payload: []byte(text.Draw(t, "payload")), Headers: transport.HeadersFromMap(rapid.MapOfN(text, text, 0, 5).Draw(t, "headers")),
		}
		doc, at := frame.Append([]byte("before"), &env, "")
		env.Seq = rapid.Uint64Range(0, frame.MaxSequence).Draw(t, "seq")
		if !frame.PutSequence(doc, at, env.Seq) {
			t.Fatal("the number found no place")
		}
		var got transport.Envelope
		if _, why := frame.Read(string(doc[len("before"):]), &got); why != "" || !equal(got, env) {
			t.Fatalf("%+v became %+v, %q", env, got, why)
		}
	})
}

// TestCutOff: no beginning of a frame without payload is one.
func TestCutOff(t *testing.T) {
	env := goldenEvent()
	env.Payload = nil
	doc, _ := frame.Append(nil, &env, "6-7")
	for n := range doc {
		var got transport.Envelope
		if _, why := frame.Read(string(doc[:n]), &got); why == "" {
			t.Errorf("the first %d of %d bytes became %+v", n, len(doc), got)
		}
	}
	if frame.PutSequence(doc, 3, 1) || frame.PutSequence(make([]byte, 20), 4, 1) {
		t.Error("a number was put where there is no frame")
	}
}

// FuzzRead: whatever is read, it is an event or a reason, and an event can be written again.
func FuzzRead(f *testing.F) {
	env := goldenEvent()
	doc, _ := frame.Append(nil, &env, "6-7")
	f.Add(string(doc))
	f.Add("\xc5sb\x02")
	f.Fuzz(func(t *testing.T, msg string) {
		var env transport.Envelope
		r, why := frame.Read(msg, &env)
		if why != "" {
			return
		}
		doc, _ := frame.Append(nil, &env, r.Uncertain)
		var again transport.Envelope
		if _, why := frame.Read(string(doc), &again); why != "" || !equal(env, again) {
			t.Errorf("%+v became %+v, %q", env, again, why)
		}
	})
}
