package bustest

import (
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

type part struct {
	Name  string
	Price float64
	note  string
}

type whole struct {
	ID    int
	Parts []part
	Tags  map[string]int
	Next  *whole
	Any   any
	At    time.Time
	Raw   []byte
	F     func()
	C     complex64
	Ok    bool
	E     struct{}
	Arr   [2]uint8
}

func TestDiff(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, tc := range map[string]struct {
		want, got any
		lines     string
	}{
		"a field":          {part{"a", 1, "x"}, part{"a", 2.5, "x"}, "  Name: \"a\"\n- Price: 1\n+ Price: 2.5\n  note: \"x\""},
		"an unexported":    {part{note: "x"}, part{note: "y"}, "  Name: \"\"\n  Price: 0\n- note: \"x\"\n+ note: \"y\""},
		"a scalar":         {1, 2, "- value: 1\n+ value: 2"},
		"a missing item":   {[]int{1, 2}, []int{1}, "  [0]: 1\n- [1]: 2"},
		"one more":         {[]int{1}, []int{1, 2}, "  [0]: 1\n+ [1]: 2"},
		"nil and empty":    {[]int(nil), []int{}, "- value: nil\n+ value: []"},
		"maps":             {map[string]int{"b": 1, "a": 2}, map[string]int{"b": 3, "c": 2}, "- [\"a\"]: 2\n- [\"b\"]: 1\n+ [\"b\"]: 3\n+ [\"c\"]: 2"},
		"no map":           {map[string]int{}, map[string]int(nil), "- value: map[]\n+ value: nil"},
		"keys with parts":  {map[any]int{[2]int{1, 2}: 1, nil: 2}, map[any]int{nil: 2}, "- [{1 2}]: 1\n  [{nil}]: 2"},
		"types behind any": {struct{ V any }{1}, struct{ V any }{int64(1)}, "- V: int(1)\n+ V: int64(1)"},
		"no value":         {struct{ V any }{nil}, struct{ V any }{part{}}, "- V: nil\n+ V.Name: \"\"\n+ V.Price: 0\n+ V.note: \"\""},
		"nil itself":       {nil, 1, "- value: nil\n+ value: 1"},
		"times":            {at, at.Add(time.Hour), "- value: 2026-01-02T03:04:05.000000006Z\n+ value: 2026-01-02T04:04:05.000000006Z"},
		"bytes":            {[]byte("a"), []byte{0xff}, "- value: \"a\"\n+ value: 0xff"},
		"behind pointers":  {&whole{Next: &whole{ID: 1}}, &whole{Next: &whole{ID: 2}}, "- Next.ID: 1\n+ Next.ID: 2\n  (24 fields are equal)"},
		"what can't show":  {math.NaN(), math.NaN(), "  value: NaN\n  (no difference that shows: a NaN, a function, or one deeper or later than is shown)"},
		"funcs":            {func() {}, (func())(nil), "- value: a func()\n+ value: nil"},
		"pointers and so on": {[]any{unsafe.Pointer(nil), true, 1i, uint(3)}, []any{(chan int)(nil), false, 2i, uint(4)},
			"  [0]: nil\n- [1]: bool(true)\n+ [1]: bool(false)\n- [2]: complex128((0+1i))\n+ [2]: complex128((0+2i))\n- [3]: uint(3)\n+ [3]: uint(4)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(diff(tc.want, tc.got), "\n"); got != tc.lines {
				t.Errorf("got\n%s\nwant\n%s", got, tc.lines)
			}
		})
	}
}

// Values that contain themselves, are deep, or are large come to an end.
func TestDiffEnds(t *testing.T) {
	ring := &whole{ID: 1}
	ring.Next = ring
	other := &whole{ID: 2}
	other.Next = other
	lines := diff(ring, other)
	if text := strings.Join(lines, "\n"); !strings.Contains(text, "- ID: 1\n+ ID: 2") || len(lines) > 10 {
		t.Errorf("%s", text)
	}
	deep := func(n int) any {
		var v any
		for range n {
			v = []any{v}
		}
		return v
	}
	if lines := diff(deep(50), deep(51)); len(lines) > 10 {
		t.Errorf("%q", lines)
	}
	if lines := diff(make([]int, 1e6), make([]string, 1e6)); len(lines) > maxLines+5 {
		t.Errorf("%d lines", len(lines))
	}
}

// Of long texts it shows where they part.
func TestDiffOfLongTexts(t *testing.T) {
	same := strings.Repeat("é", 500)
	lines := diff(same+"x"+same, same+"y"+same)
	text := strings.Join(lines, "\n")
	if !strings.Contains(text, "éx") || !strings.Contains(text, "éy") || len(text) > 500 {
		t.Errorf("%s", text)
	}
}

// Values that differ in a leaf show a difference; equal ones none.
func TestDiffFindsDifferences(t *testing.T) {
	gen := rapid.MapOf(rapid.StringN(0, 4, 8), rapid.SliceOfN(rapid.IntRange(0, 3), 0, 3))
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if lines := diff(a, a); !strings.Contains(lines[len(lines)-1], "no difference") {
			t.Errorf("%q", lines)
		}
		differs := strings.Join(diff(a, b), "\n")
		if (len(a) != len(b)) && strings.Contains(differs, "no difference") {
			t.Errorf("%v and %v: %s", a, b, differs)
		}
	})
}
