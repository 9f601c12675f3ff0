package wire_test

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// TestTopicDocuments pins what a hello and its answer say of topics.
func TestTopicDocuments(t *testing.T) {
	topics := []wire.Topic{{Name: "flights.departed", Partitions: 4, ContentType: "application/json", TypeName: "example.com/air.Flight"}, {Name: "bare"}}
	const text = `"topics":[{"name":"flights.departed","partitions":4,"contenttype":"application/json","typename":"example.com/air.Flight"},{"name":"bare"}]`
	hello := wire.BaselineRequest{Subscriber: "M2XW4", N: 18, Channels: []string{}, Topics: topics}
	doc, err := wire.AppendBaselineRequest(nil, hello)
	if want := `{"specversion":"1.0","id":"hello","source":"M2XW4","type":"shardbus.hello","datacontenttype":"application/json",` +
		`"data":{"n":18,"channels":[],` + text + `}}`; err != nil || string(doc) != want {
		t.Errorf("%s, %v", doc, err)
	}
	if got, err := wire.DecodeBaselineRequest(string(doc)); err != nil || !reflect.DeepEqual(got, hello) {
		t.Errorf("%+v, %v", got, err)
	}
	answer := wire.Answer{Publisher: "7Q3ZK", N: 18, Done: true, Topics: topics}
	doc, err = wire.AppendAnswer(nil, answer)
	if want := `{"specversion":"1.0","id":"answer","source":"7Q3ZK","type":"shardbus.answer","datacontenttype":"application/json",` +
		`"data":{"n":18,"done":true,` + text + `}}`; err != nil || string(doc) != want {
		t.Errorf("%s, %v", doc, err)
	}
	if got, err := wire.DecodeAnswer(string(doc)); err != nil || !reflect.DeepEqual(got, answer) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What no bus could have said of a topic is not read, and what would make the document too large is not written.
func TestTopicsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 201)
	doc := `{"specversion":"1.0","id":"hello","source":"M2XW4","type":"shardbus.hello","data":{"n":1,"channels":[],"topics":[` +
		`{"name":""},{"name":"{a}"},{"name":"` + long + `"},{"name":"a","partitions":-1},{"name":"a","partitions":4097},` +
		`{"name":"a","typename":"` + long + `"},{"name":"a","contenttype":"` + long + `"},{"name":"good"}]}}`
	hello, err := wire.DecodeBaselineRequest(doc)
	if err != nil || !reflect.DeepEqual(hello.Topics, []wire.Topic{{Name: "good"}}) {
		t.Errorf("%+v, %v", hello, err)
	}
	if got := wire.TopicOf(transport.Topic{Name: "a", ContentType: long, TypeName: long}); got != (wire.Topic{Name: "a"}) {
		t.Errorf("%+v", got)
	}
	var most wire.BaselineRequest
	most.Subscriber = strings.Repeat("s", 64)
	for i := range wire.MaxBaselineChannels {
		name := fmt.Sprintf("%s%03d", strings.Repeat("n", 197), i)
		most.Channels = append(most.Channels, "{abcd}:"+name+":p4095")
		most.Topics = append(most.Topics, wire.Topic{Name: name, Partitions: 4096, ContentType: long[1:], TypeName: strings.Repeat("<", 200)})
	}
	text, err := wire.AppendBaselineRequest(nil, most)
	if err != nil || len(text) > wire.MaxQuestion {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	back, err := wire.DecodeBaselineRequest(string(text))
	if err != nil || len(back.Channels) != wire.MaxBaselineChannels || len(back.Topics) == 0 || !reflect.DeepEqual(back.Topics, most.Topics[:len(back.Topics)]) {
		t.Errorf("%d channels, %d topics, %v", len(back.Channels), len(back.Topics), err)
	}
}

// TestTypeNameVectors pins how an event says its type, in both forms.
func TestTypeNameVectors(t *testing.T) {
	env := transport.Envelope{Topic: "t", Publisher: "p", ID: "i", Seq: 1, TypeName: "a.B", Payload: []byte("1")}
	doc, _ := wire.Append(nil, &env, "")
	if want := `{"specversion":"1.0","id":"i","source":"p","type":"t","sequence":"00000000000000000001","shardbustype":"a.B","data":1}`; string(doc) != want {
		t.Errorf("%s", doc)
	}
	for _, tc := range []struct {
		header map[string]string
		name   string
		want   string
	}{
		{nil, "a.B", "02 0170 0169 00 00 00 01 053a74797065 03612e42 31"},
		{map[string]string{"h": "v"}, "a.B", "02 0170 0169 00 00 00 02 053a74797065 03612e42 0168 0176 31"},
		{map[string]string{":type": "v"}, "a.B", "02 0170 0169 00 00 00 02 053a74797065 03612e42 053a74797065 0176 31"},
		{map[string]string{":type": "v"}, "", "02 0170 0169 00 00 00 02 053a74797065 00 053a74797065 0176 31"},
		{map[string]string{"h": "v"}, "", "02 0170 0169 00 00 00 01 0168 0176 31"},
		{nil, "", "00 0170 0169 00 00 00 31"},
	} {
		env.Headers, env.TypeName = transport.HeadersFromMap(tc.header), tc.name
		doc, _ := wire.AppendCompact(nil, &env, "")
		if got, want := hex.EncodeToString(doc), "c57362010000000000000001"+strings.ReplaceAll(tc.want, " ", ""); got != want {
			t.Errorf("%v %q: %s, want %s", tc.header, tc.name, got, want)
		}
		var back transport.Envelope
		_, ok := wire.Decode(string(doc), &back)
		if back.Topic = "t"; !ok || !same(back, env) {
			t.Errorf("%+v, want %+v", back, env)
		}
	}
	// One that is too long is none, whoever sends it.
	env.Headers, env.TypeName = transport.HeadersFromMap(map[string]string{"shardbustype": "mine"}), strings.Repeat("x", 201)
	for _, doc := range [][]byte{appended(wire.Append(nil, &env, "")), appended(wire.AppendCompact(nil, &env, ""))} {
		var back transport.Envelope
		if _, ok := wire.Decode(string(doc), &back); !ok || back.TypeName != "" || back.Headers.Get("shardbustype") != "mine" {
			t.Errorf("%s: %+v", doc, back)
		}
	}
	for _, value := range []string{`"` + strings.Repeat("x", 201) + `"`, `{}`, `[1]`, `"\ud800"`} {
		var back transport.Envelope
		read, ok := wire.Decode(`{"specversion":"1.0","id":"i","source":"p","type":"t","shardbustype":`+value+`,"data":1}`, &back)
		if !ok || back.Malformed != nil || back.TypeName != "" || read.Unread != wire.TypeName {
			t.Errorf("%s: %+v, %v", value, back, read)
		}
	}
}

func appended(doc []byte, _ int) []byte { return doc }
