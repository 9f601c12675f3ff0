package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// members reads an object with another reader than ours: the members, and whether it is one and no member comes twice.
func members(msg string) (all map[string]json.RawMessage, unique, ok bool) {
	text := []byte(strings.TrimPrefix(msg, "\ufeff"))
	if json.Unmarshal(text, &all) != nil || all == nil {
		return nil, false, false
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, false, false
	}
	n := 0
	for ; dec.More(); n++ {
		var value json.RawMessage
		if _, err := dec.Token(); err != nil {
			return nil, false, false
		}
		if err := dec.Decode(&value); err != nil {
			return nil, false, false
		}
	}
	return all, n == len(all), true
}

// dataOf is what a document's data is, by the CloudEvents JSON format.
func dataOf(t *testing.T, all map[string]json.RawMessage) []byte {
	t.Helper()
	if raw, ok := all["data_base64"]; ok && string(raw) != "null" {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			t.Fatalf("data_base64 is %s, and was read", raw)
		}
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatalf("data_base64 is %s, and was read", raw)
		}
		if data2, ok := all["data"]; ok && string(data2) != "null" {
			t.Fatalf("data is %s and data_base64 %s, and one was taken", data2, raw)
		}
		return data
	}
	data, ok := all["data"]
	if !ok {
		return nil
	}
	return data
}

// FuzzForeign: a document with a specversion never reaches a handler as something its data is not. It is read by
// encoding/json too, and what a topic of bytes hands to its handler must be its data; anything else is a dead letter with the
// message as it came.
func FuzzForeign(f *testing.F) {
	for _, g := range golden {
		f.Add(g.doc)
	}
	base := `{"specversion":"1.0","id":"1","source":"/x","type":"t",`
	for _, rest := range []string{
		`"data":{"origin":"SFO"}}`, `"time":"","data":1}`, `"data":"x","datacontenttype":"text/plain"}`, `"data_base64":"AA=="}`, `"data":null}`,
		`"data_base64":"AA","data":2}`, `"partitionkey":42,"data":[]}`, `"shardbusmore":":datacontenttype=text/x&:id=%","data":"x"}`,
		`"data":1,"data":2}`, `"data":"\ud800","datacontenttype":"text/plain"}`, `"sequence":"00000000000000000042","data":1}`,
		`"datacontenttype":{},"data":"x"}`, `"data":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
	} {
		f.Add(base + rest)
	}
	f.Add(`[{"specversion":"1.0","id":"1"}]`)
	f.Add("\ufeff" + base + `"data":1}`)
	cfg := bus.TopicConfig[[]byte]{Name: "t", Codec: codec.Raw}
	f.Fuzz(func(t *testing.T, msg string) {
		if strings.HasPrefix(msg, "\xc5sb") {
			return // compact: see FuzzDecodeCompact
		}
		all, unique, isObject := members(msg)
		_, isDocument := all["specversion"]
		env := new(transport.Envelope)
		read, ok := wire.Decode(msg, env)
		if !ok {
			if isDocument {
				t.Fatalf("%q was taken for a bare payload", msg)
			}
			return
		}
		d := bustest.EnvelopeDelivery(cfg, env)
		err := d.Decode(nil)
		value, handled := bus.Value[[]byte](d)
		if env.Malformed != nil {
			if handled || !errors.Is(err, transport.ErrMalformed) || string(env.Payload) != msg || read.Unread != 0 {
				t.Fatalf("%q is malformed, and became %+v, %v", msg, env, err)
			}
			return
		}
		if err != nil || !isObject || !isDocument || !unique {
			t.Fatalf("%q was taken for an event: %+v, %v", msg, env, err)
		}
		want := dataOf(t, all)
		if len(want) > 0 && want[0] == '"' && !bytes.Equal(*value, want) { // else a text, by its media type
			var text string
			if env.ContentType == "" || strings.Contains(env.ContentType, "json") || json.Unmarshal(want, &text) != nil || !utf8.ValidString(text) {
				t.Fatalf("%q of media type %q became %q", msg, env.ContentType, *value)
			}
			want = []byte(text)
		}
		if !bytes.Equal(*value, want) {
			t.Fatalf("%q became %q, its data is %q", msg, *value, want)
		}
		if y := env.Time.Year(); y < 1 || y > 9999 {
			t.Fatalf("%q is of the year %d", msg, y)
		}
	})
}
