package codec_test

import (
	"bytes"
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

// printed is the event behind the pointer v as text, in which nil and empty
// slices are the same.
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
