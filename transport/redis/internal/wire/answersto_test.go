package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// TestAnswersTo: what an answer answers is found as it is decoded, whoever wrote it.
func TestAnswersTo(t *testing.T) {
	own := func(a wire.Answer) string {
		text, err := wire.AppendAnswer(nil, a)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	head := `{"specversion":"1.0","type":"shardbus.answer","id":"1",`
	deep := json.RawMessage(strings.Repeat("[", 600) + strings.Repeat("]", 600))
	for msg, want := range map[string]wire.Reply{
		own(wire.Answer{Publisher: "p", N: 17, Channel: "{abc}:t:p1", Assigned: 9, Events: []json.RawMessage{deep}}):  {Publisher: "p", N: 17, Channel: "{abc}:t:p1"},
		own(wire.Answer{Publisher: "p", N: 1<<64 - 1, Done: true, Streams: []wire.Mark{{Channel: "other", Last: 3}}}): {Publisher: "p", N: 1<<64 - 1},
		head + `"source":"p","data":{"events":[` + string(deep) + `,{"n":5,"channel":"x"}],"channel":"t","n":7}}`:     {Publisher: "p", N: 7, Channel: "t"},
		head + `"data":{"n":7,"channel":"t","events":[{"source":"q"}]},"source":"p"}`:                                 {Publisher: "p", N: 7, Channel: "t"},
		head + ` "source" : "p" , "data" : { "ch\u0061nnel" : "\u0074" , "n" : 7 } }`:                                 {Publisher: "p", N: 7, Channel: "t"},
		head + `"source":"p","data":{"channel":null,"n":0}}`:                                                          {Publisher: "p"},
	} {
		got, ok := wire.AnswersTo(msg)
		if !ok || got != want {
			t.Errorf("%.120q: %+v, %v", msg, got, ok)
		}
		a, err := wire.DecodeAnswer(msg)
		if err != nil || (wire.Reply{Publisher: a.Publisher, N: a.N, Channel: a.Channel}) != want {
			t.Errorf("%.120q is decoded as %+v, %v", msg, a, err)
		}
	}
	for _, msg := range []string{
		"", "{", "[]", "x", `{"source":"p"`, `{"source":"p","data":`, `{"source":"p","data":{}}`, `{"source":"p","data":{"n":"7"}}`, `{"source":"p","data":{"n":-7}}`,
		`{"source":"p","data":{"n":7.5}}`, `{"source":"a b","data":{"n":7,"channel":"t"}}`, `{"data":{"n":7,"channel":"t"}}`, `{"source":7,"data":{"n":7,"channel":"t"}}`,
	} {
		if got, ok := wire.AnswersTo(msg); ok {
			t.Errorf("%q: %+v", msg, got)
		}
	}
}

// TestAnswersToReadsNoFurther: what follows costs nothing, nor does what stands before.
func TestAnswersToReadsNoFurther(t *testing.T) {
	text, err := wire.AppendAnswer(nil, wire.Answer{Publisher: "p", N: 17, Channel: "t", Assigned: 9})
	if err != nil {
		t.Fatal(err)
	}
	msg := strings.TrimSuffix(string(text), "}}") + `,"events":[ no JSON`
	if got, ok := wire.AnswersTo(msg); !ok || got.N != 17 {
		t.Errorf("%+v, %v", got, ok)
	}
	foreign := `{"data":{"events":["` + strings.Repeat("x", 1<<16) + `"],"n":17,"channel":"t"},"source":"p"}`
	if n := testing.AllocsPerRun(100, func() { wire.AnswersTo(foreign) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAnswersTo: whatever anybody sends, it is read without harm, and who answers has a name.
func FuzzAnswersTo(f *testing.F) {
	f.Add(`{"specversion":"1.0","source":"p","type":"shardbus.answer","data":{"n":17,"channel":"t"}}`)
	f.Add(`{"data":{"n":`)
	f.Fuzz(func(t *testing.T, msg string) {
		got, ok := wire.AnswersTo(msg)
		if ok && !wire.IsParty(got.Publisher) {
			t.Errorf("%+v", got)
		}
	})
}
