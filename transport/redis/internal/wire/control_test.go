package wire_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

func TestControlChannels(t *testing.T) {
	for name, want := range map[string]string{
		wire.NackChannel(12206, "7Q3ZK"):  "{djb}:shardbus:7Q3ZK:asks",
		wire.InboxChannel(12206, "M2XW4"): "{djb}:shardbus:M2XW4:inbox",
		wire.BaselineChannel(12206):       "{djb}:shardbus:hello",
	} {
		if name != want || router.Slot(name) != 12206 {
			t.Errorf("%s on slot %d, want %s on 12206", name, router.Slot(name), want)
		}
	}
}

func TestIsParty(t *testing.T) {
	for name, want := range map[string]bool{
		"7Q3ZK": true, "a.b_c-D9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a:b": false, "{a}": false, "a b": false, "ä": false, "/cli": false, "a\n": false,
	} {
		if wire.IsParty(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// TestControlDocuments pins the documents of docs/wire.md.
func TestControlDocuments(t *testing.T) {
	ask := wire.Nack{Subscriber: "M2XW4", N: 17, Streams: []wire.Missing{{Channel: "flights.departed", Numbers: "3,5-9"}}}
	text, err := wire.AppendNack(nil, ask)
	if want := `{"specversion":"1.0","id":"ask","source":"M2XW4","type":"shardbus.ask","datacontenttype":"application/json",` +
		`"data":{"n":17,"streams":[{"channel":"flights.departed","numbers":"3,5-9"}]}}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	if got, err := wire.DecodeNack(string(text)); err != nil || !reflect.DeepEqual(got, ask) {
		t.Errorf("%+v, %v", got, err)
	}

	hello := wire.BaselineRequest{Subscriber: "M2XW4", N: 18, Channels: []string{"flights.departed"}}
	text, err = wire.AppendBaselineRequest(nil, hello)
	if want := `{"specversion":"1.0","id":"hello","source":"M2XW4","type":"shardbus.hello","datacontenttype":"application/json",` +
		`"data":{"n":18,"channels":["flights.departed"]}}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	if got, err := wire.DecodeBaselineRequest(string(text)); err != nil || !reflect.DeepEqual(got, hello) {
		t.Errorf("%+v, %v", got, err)
	}

	answer := wire.Answer{
		Publisher: "7Q3ZK", N: 17, Channel: "flights.departed", Assigned: 9, Gone: 3, Void: "5", Open: "9", Uncertain: "5", Epoch: 1772366400000,
		Events: []json.RawMessage{json.RawMessage(`{"a" : "<&>"}`), json.RawMessage(`{}`)},
	}
	text, err = wire.AppendAnswer(nil, answer)
	if want := `{"specversion":"1.0","id":"answer","source":"7Q3ZK","type":"shardbus.answer","datacontenttype":"application/json",` +
		`"data":{"n":17,"channel":"flights.departed","assigned":9,"gone":3,"void":"5","open":"9","uncertain":"5","epoch":1772366400000,` +
		`"events":[{"a" : "<&>"},{}]}}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	if got, err := wire.DecodeAnswer(string(text)); err != nil || !reflect.DeepEqual(got, answer) {
		t.Errorf("%+v, %v", got, err)
	}

	here := wire.Answer{Publisher: "7Q3ZK", N: 18, Done: true, Streams: []wire.Mark{{
		Channel: "flights.departed", Last: 42, AgeMillis: 81250, Uncertain: "6-7", Epoch: 1772366400000, Assigned: 44,
	}}}
	text, err = wire.AppendAnswer(nil, here)
	if want := `{"specversion":"1.0","id":"answer","source":"7Q3ZK","type":"shardbus.answer","datacontenttype":"application/json",` +
		`"data":{"n":18,"done":true,"streams":[{"channel":"flights.departed","last":42,"age":81250,"uncertain":"6-7",` +
		`"epoch":1772366400000,"assigned":44}]}}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	if got, err := wire.DecodeAnswer(string(text)); err != nil || !reflect.DeepEqual(got, here) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAnswerCarriesAnyDocument: what was once a document is the same event behind an answer, whatever its payload.
func TestAnswerCarriesAnyDocument(t *testing.T) {
	deep := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	for _, payload := range []string{"", "{}", `{"a": "<&>\u2028"}`, "\xff\x00", "plain", deep, `"` + strings.Repeat("x", 1<<16) + `"`} {
		sent := transport.Envelope{Topic: "t", Publisher: "p", ID: "1", Seq: 7, Headers: transport.HeadersFromMap(map[string]string{"h": "v", "X Y": "\x01"})}
		if payload != "" {
			sent.Payload = []byte(payload)
		}
		doc, _ := wire.Append(nil, &sent, "3")
		text, err := wire.AppendAnswer(nil, wire.Answer{Publisher: "p", Channel: "t", Events: []json.RawMessage{doc}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := wire.DecodeAnswer(string(text))
		if err != nil || len(answer.Events) != 1 {
			t.Fatalf("%.40q: %+v, %v", payload, answer, err)
		}
		var got transport.Envelope
		read, ok := wire.Decode(string(answer.Events[0]), &got)
		got.Topic = "t"
		if !ok || read.Uncertain != "3" || !reflect.DeepEqual(got, sent) {
			t.Errorf("%.40q: %+v", payload, got)
		}
	}
}

func TestControlRefuses(t *testing.T) {
	for _, text := range []string{
		"", "x", "{}", "null", "[]", `{"specversion":"1.0","source":"a","type":"other","data":{}}`,
		`{"specversion":"1.0","source":"a:b","type":"shardbus.ask","data":{}}`,
		`{"specversion":"1.0","source":"","type":"shardbus.ask","data":{}}`,
		`{"specversion":"2","source":"a","type":"shardbus.ask","data":{}}`,
		`{"specversion":"1.0","source":"a","type":"shardbus.ask","data":{"n":-1}}`,
		`{"specversion":"1.0","source":"a","type":"shardbus.ask","data":{"n":1}}` + strings.Repeat(" ", 1<<20),
	} {
		if a, err := wire.DecodeNack(text); err == nil {
			t.Errorf("%.60q: %+v", text, a)
		}
	}
	many := wire.Nack{Subscriber: "a", Streams: make([]wire.Missing, 1000)}
	text, err := wire.AppendNack(nil, many)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := wire.DecodeNack(string(text)); err != nil || len(a.Streams) != wire.MaxNackChannels {
		t.Errorf("%d channels, %v", len(a.Streams), err)
	}
}

// FuzzControl: no text harms the decoders, and what they take they write and read again.
func FuzzControl(f *testing.F) {
	f.Add(`{"specversion":"1.0","id":"ask","source":"M2XW4","type":"shardbus.ask","data":{"n":17,"streams":[{"channel":"c","numbers":"3,5-9"}]}}`)
	f.Add(`{"specversion":"1.0","id":"hello","source":"M2XW4","type":"shardbus.hello","data":{"n":18,"channels":["a","b"]}}`)
	f.Add(`{"specversion":"1.0","id":"answer","source":"7Q3ZK","type":"shardbus.answer","data":{"n":1,"channel":"c","assigned":9,"gone":3,"void":"5","open":"9","events":[{},null,1]}}`)
	f.Add(`{"specversion":"1.0","id":"answer","source":"7Q3ZK","type":"shardbus.answer","data":{"n":1,"done":true,"streams":[{"channel":"c","last":1}]}}`)
	f.Add(`{"specversion":"1.0","source":"a","type":"shardbus.answer","data":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := wire.DecodeNack(text); err == nil {
			again, err := wire.AppendNack(nil, a)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := wire.DecodeNack(string(again)); err == nil && !reflect.DeepEqual(a, b) {
				t.Errorf("%+v became %+v", a, b)
			}
		}
		if h, err := wire.DecodeBaselineRequest(text); err == nil {
			again, err := wire.AppendBaselineRequest(nil, h)
			if err != nil {
				t.Fatal(err)
			}
			if g, err := wire.DecodeBaselineRequest(string(again)); err == nil && !reflect.DeepEqual(h, g) {
				t.Errorf("%+v became %+v", h, g)
			}
		}
		if a, err := wire.DecodeAnswer(text); err == nil {
			again, err := wire.AppendAnswer(nil, a)
			if err != nil {
				t.Fatal(err)
			}
			b, err := wire.DecodeAnswer(string(again))
			if err != nil || len(b.Events) != len(a.Events) || b.Assigned != a.Assigned || b.Channel != a.Channel {
				t.Errorf("%+v became %+v, %v", a, b, err)
			}
		}
	})
}
