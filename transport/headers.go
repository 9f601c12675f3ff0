package transport

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Header is one header of an event. Any text is allowed as a name and as a value.
type Header struct{ Name, Value string }

// Headers are an event's headers, each name once, in the order of their names. They are an
// immutable value of one word: safe to copy, to keep and to share among goroutines. The zero value
// has none. One or two headers take one allocation of 96 bytes.
//
// Compare with Equal, not with ==. reflect.DeepEqual gives the same answer.
type Headers struct{ block *headerBlock }

// headerBlock is sorted by name. It does not change once it is made.
type headerBlock struct {
	n    int
	few  [2]Header
	more []Header // all of them where they are more than few holds, else nil
}

// NewHeaders makes headers of a list in any order. A repeated name replaces. The list stays the
// caller's.
func NewHeaders(list ...Header) Headers {
	switch len(list) {
	case 0:
		return Headers{}
	case 1:
		return Headers{&headerBlock{n: 1, few: [2]Header{list[0]}}}
	case 2:
		a, b := list[0], list[1]
		switch {
		case a.Name == b.Name:
			return Headers{&headerBlock{n: 1, few: [2]Header{b}}}
		case a.Name > b.Name:
			a, b = b, a
		}
		return Headers{&headerBlock{n: 2, few: [2]Header{a, b}}}
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	kept := sorted[:0]
	for i, h := range sorted {
		if i+1 < len(sorted) && sorted[i+1].Name == h.Name {
			continue // a later one replaces it
		}
		kept = append(kept, h)
	}
	if len(kept) <= 2 {
		return NewHeaders(kept...)
	}
	return Headers{&headerBlock{n: len(kept), more: kept}}
}

// HeadersFromMap makes headers of a map, which stays the caller's.
func HeadersFromMap(m map[string]string) Headers {
	list := make([]Header, 0, len(m))
	for name, value := range m {
		list = append(list, Header{name, value})
	}
	return NewHeaders(list...)
}

// list is the headers where they stand.
func (h Headers) list() []Header {
	switch {
	case h.block == nil:
		return nil
	case h.block.more != nil:
		return h.block.more
	}
	return h.block.few[:h.block.n]
}

// Len is how many headers there are.
func (h Headers) Len() int {
	if h.block == nil {
		return 0
	}
	return h.block.n
}

// IsZero reports whether there are none.
func (h Headers) IsZero() bool { return h.block == nil }

// Get is the value of a header, and empty if there is none of that name.
func (h Headers) Get(name string) string {
	value, _ := h.Lookup(name)
	return value
}

// Lookup is the value of a header, and whether there is one of that name.
func (h Headers) Lookup(name string) (value string, ok bool) {
	list := h.list()
	if i, found := search(list, name); found {
		return list[i].Value, true
	}
	return "", false
}

// search is the place of a name in a sorted list, and whether it is there.
func search(list []Header, name string) (i int, found bool) {
	return slices.BinarySearchFunc(list, name, func(h Header, name string) int { return strings.Compare(h.Name, name) })
}

// All is the headers in the order of their names.
func (h Headers) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, header := range h.list() {
			if !yield(header.Name, header.Value) {
				return
			}
		}
	}
}

// With is these headers and one more, which replaces one of the same name. h stays as it is.
func (h Headers) With(name, value string) Headers {
	header := Header{name, value}
	switch n := h.Len(); n {
	case 0:
		return NewHeaders(header)
	case 1:
		return NewHeaders(h.block.few[0], header)
	default:
		return NewHeaders(append(append(make([]Header, 0, n+1), h.list()...), header)...)
	}
}

// Equal reports whether both have the same names and values.
func (h Headers) Equal(other Headers) bool {
	return h.block == other.block || slices.Equal(h.list(), other.list())
}

// Map is a copy of the headers as a map; nil if there are none.
func (h Headers) Map() map[string]string {
	if h.block == nil {
		return nil
	}
	return maps.Collect(h.All())
}

// String is the headers as a map is printed.
func (h Headers) String() string { return fmt.Sprint(h.Map()) }

// GoString is the headers as Go source prints a map.
func (h Headers) GoString() string { return fmt.Sprintf("transport.Headers%#v", h.Map()) }

// MarshalJSON writes the headers as an object.
func (h Headers) MarshalJSON() ([]byte, error) {
	if h.block == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(h.Map())
}

// UnmarshalJSON reads an object of strings. null is no headers.
func (h *Headers) UnmarshalJSON(text []byte) error {
	var m map[string]string
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	*h = HeadersFromMap(m)
	return nil
}
