package transport_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/transport"
)

// TestHeadersAreAMap: whatever is done to headers, they say what a map would.
func TestHeadersAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"", "a", "b", "c", "trace", "\xff"})
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) transport.Header {
			return transport.Header{Name: name.Draw(t, "name"), Value: rapid.StringN(0, 3, 8).Draw(t, "value")}
		}), 0, 8).Draw(t, "list")
		given := slices.Clone(list)
		want := make(map[string]string)
		step := transport.Headers{}
		for _, h := range list {
			want[h.Name] = h.Value
			before := step.Map()
			next := step.With(h.Name, h.Value)
			if !maps.Equal(step.Map(), before) {
				t.Fatalf("With changed what it was called on: %v, was %v", step, before)
			}
			step = next
		}
		whole := transport.NewHeaders(list...)
		if !slices.Equal(list, given) {
			t.Fatalf("the caller's list was changed: %q", list)
		}
		for _, h := range []transport.Headers{step, whole, transport.HeadersFromMap(want)} {
			if !maps.Equal(h.Map(), want) || h.Len() != len(want) || h.IsZero() != (len(want) == 0) {
				t.Fatalf("%v, want %v", h, want)
			}
			if !h.Equal(whole) || !reflect.DeepEqual(h, whole) {
				t.Fatalf("%v differs from %v", h, whole)
			}
			names := slices.Collect(maps.Keys(want))
			slices.Sort(names)
			var got []string
			for name, value := range h.All() {
				if value != want[name] {
					t.Fatalf("%q is %q", name, value)
				}
				got = append(got, name)
			}
			if !slices.Equal(got, names) {
				t.Fatalf("order %q, want %q", got, names)
			}
			for _, name := range []string{"", "a", "none", "trace"} {
				value, ok := h.Lookup(name)
				wantValue, wantOK := want[name]
				if value != wantValue || ok != wantOK || h.Get(name) != wantValue {
					t.Fatalf("%q: %q, %t", name, value, ok)
				}
			}
			if fmt.Sprint(h) != fmt.Sprint(want) {
				t.Fatalf("printed as %v, want %v", h, want)
			}
		}
		if other := whole.With("a", "something else, and long"); other.Equal(whole) || whole.Equal(other) {
			t.Fatalf("%v equals %v", other, whole)
		}
	})
}

func TestHeadersInJSON(t *testing.T) {
	type document struct {
		Headers transport.Headers `json:"headers,omitzero"`
	}
	for _, c := range []struct {
		text string
		want map[string]string
	}{
		{`{}`, nil},
		{`{"headers":{"a":"1"}}`, map[string]string{"a": "1"}},
		{`{"headers":{"a":"1","b":"\"","z":""}}`, map[string]string{"a": "1", "b": `"`, "z": ""}},
	} {
		var d document
		if err := json.Unmarshal([]byte(c.text), &d); err != nil || !maps.Equal(d.Headers.Map(), c.want) {
			t.Errorf("%s: %v, %v", c.text, d.Headers, err)
		}
		if text, err := json.Marshal(d); err != nil || string(text) != c.text {
			t.Errorf("%s, %v; want %s", text, err, c.text)
		}
	}
	var h transport.Headers
	if err := json.Unmarshal([]byte(`{"a":1}`), &h); err == nil {
		t.Error("a number is no header")
	}
	if text, err := json.Marshal(h); err != nil || string(text) != "{}" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestHeadersAllocateOnce(t *testing.T) {
	name, value := "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var h transport.Headers
	for n, make := range map[string]func(){
		"one": func() { h = transport.NewHeaders(transport.Header{Name: name, Value: value}) },
		"two": func() {
			h = transport.NewHeaders(transport.Header{Name: name, Value: value}, transport.Header{Name: "a", Value: "b"})
		},
	} {
		if allocs := testing.AllocsPerRun(100, make); allocs != 1 {
			t.Errorf("%s: %v allocations", n, allocs)
		}
	}
	total := 0
	if allocs := testing.AllocsPerRun(100, func() {
		for name, value := range h.All() {
			total += len(name) + len(value)
		}
		total += len(h.Get(name)) + h.Len()
	}); allocs != 0 {
		t.Errorf("reading: %v allocations", allocs)
	}
}
