package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/codec"
)

type flight struct {
	Date     string
	Delay    int
	Distance float64
	Stops    []string
	Raw      []byte
}

// printed is the event behind the pointer v as text, in which nil and empty slices are the same.
func printed(v any) string {
	return strings.ReplaceAll(fmt.Sprintf("%#v", reflect.ValueOf(v).Elem()), "(nil)", "{}")
}

func TestJSON(t *testing.T) {
	if name, typ := codec.JSON.Name(), codec.JSON.ContentType(); name != "json" || typ != "application/json" {
		t.Errorf("it is %s, %s", name, typ)
	}
	event := map[string]string{"html": "<a href='?x&y'>"}
	b, err := codec.JSON.Append(nil, &event)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"html":"<a href='?x&y'>"}`; string(b) != want {
		t.Errorf("encoded %s, want %s", b, want) // HTML as it is, no newline
	}
}

// White space around the value is no garbage.
func TestJSONSpace(t *testing.T) {
	var n int
	if err := codec.JSON.Decode([]byte(" \n12\t\r\n"), &n); err != nil || n != 12 {
		t.Errorf("decoded %d: %v", n, err)
	}
}

// null is an event only of a type that has such a value: any other would become a zero one.
func TestJSONNull(t *testing.T) {
	for _, text := range []string{"null", " null\n"} {
		for _, v := range []any{new(int), new(string), new(bool), new(flight), new([2]int)} {
			err := codec.JSON.Decode([]byte(text), v)
			var e *codec.Error
			if !errors.As(err, &e) || e.Op != "decode" || !strings.Contains(err.Error(), "null") {
				t.Errorf("%q as %T: %v", text, v, err)
			}
		}
		for _, v := range []any{new(*flight), new([]int), new(map[string]int), new(any), new(json.RawMessage), new(ownNull)} {
			if err := codec.JSON.Decode([]byte(text), v); err != nil {
				t.Errorf("%q as %T: %v", text, v, err)
			}
		}
	}
}

// ownNull reads null as something of its own.
type ownNull struct{ wasNull bool }

func (o *ownNull) UnmarshalJSON(b []byte) error {
	o.wasNull = string(b) == "null"
	return nil
}

// Whatever bytes come, Decode returns; what it accepts survives another trip.
func FuzzJSONDecode(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `{"Date":"2026-01-31","Delay":-3,"Distance":1e3,"Stops":["a"],"Raw":"AAE="}`, `[1,2,{"a":null}]`,
		`{"Delay":1e99}`, `"\ud800"`, "{}\x00", `{"Raw":"!"}`, `[[[[[[[[`, `{"a":1,"a":2}`, `0123`, `-`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		for _, fresh := range []func() any{
			func() any { return new(flight) }, func() any { return new(any) }, func() any { return new(map[string]int) },
		} {
			v := fresh()
			err := codec.JSON.Decode(b, v)
			if !bytes.Equal(b, before) {
				t.Fatal("Decode changed the payload")
			}
			if err != nil {
				continue
			}
			again, err := codec.JSON.Append(nil, v)
			if err != nil {
				t.Fatalf("%s was decoded and can't be encoded: %v", b, err)
			}
			w := fresh()
			if err := codec.JSON.Decode(again, w); err != nil {
				t.Fatalf("%s was encoded and can't be decoded: %v", again, err)
			}
			if printed(v) != printed(w) {
				t.Fatalf("%s came back as %s", printed(v), printed(w))
			}
		}
	})
}
