package bustest

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is shown of a value.
const (
	maxDepth    = 16   // of values within values
	maxLeaves   = 2000 // of a value
	alwaysShown = 12   // so many leaves are shown, also those that are equal
	maxLines    = 60   // of a diff
	aroundDiff  = 40   // bytes shown of long texts on each side of where they part
)

// diff compares two values field by field: "- path: value" is only in want,
// "+ path: value" only in got, "  path: value" in both. It is never empty.
func diff(want, got any) []string {
	a, b := leavesOf(want), leavesOf(got)
	other := make(map[string]string, len(b))
	for _, l := range b {
		other[l.path] = l.text
	}
	lines, differences, equal := make([]string, 0, len(a)), 0, 0
	for _, l := range a {
		text, there := other[l.path]
		delete(other, l.path)
		switch {
		case there && text == l.text && len(a) > alwaysShown:
			equal++
		case there && text == l.text:
			lines = append(lines, "  "+l.path+": "+l.text)
		case there:
			differences++
			was, is := apart(l.text, text)
			lines = append(lines, "- "+l.path+": "+was, "+ "+l.path+": "+is)
		default:
			differences++
			lines = append(lines, "- "+l.path+": "+clip(l.text, longest))
		}
	}
	for _, l := range b {
		if _, only := other[l.path]; only {
			differences++
			lines = append(lines, "+ "+l.path+": "+clip(l.text, longest))
		}
	}
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], fmt.Sprintf("  … and %d lines more", len(lines)-maxLines))
	}
	switch {
	case differences == 0:
		lines = append(lines, "  (no difference that shows: a NaN, a function, or one deeper or later than is shown)")
	case equal > 0:
		lines = append(lines, fmt.Sprintf("  (%d fields are equal)", equal))
	}
	return lines
}

// apart shortens two long texts to where they part.
func apart(a, b string) (string, string) {
	if len(a) <= longest && len(b) <= longest {
		return a, b
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	window := func(s string) string {
		from, to := max(0, same-aroundDiff), min(len(s), same+aroundDiff)
		text := strings.ToValidUTF8(s[from:to], "")
		if from > 0 {
			text = "…" + text
		}
		if to < len(s) {
			text += "…"
		}
		return fmt.Sprintf("%s (%d bytes)", text, len(s))
	}
	return window(a), window(b)
}

// leaf is a part of a value that has no parts.
type leaf struct{ path, text string }

// leavesOf takes a value apart.
func leavesOf(v any) []leaf {
	w := walker{visited: make(map[visit]bool)}
	w.walk("", reflect.ValueOf(v), 0)
	return w.leaves
}

type walker struct {
	leaves  []leaf
	visited map[visit]bool // on the way to here: a value may contain itself
}

type visit struct {
	p uintptr
	t reflect.Type
}

func (w *walker) leaf(path, text string) {
	if path == "" {
		path = "value"
	}
	w.leaves = append(w.leaves, leaf{path, text})
}

func (w *walker) walk(path string, v reflect.Value, depth int) {
	switch {
	case len(w.leaves) >= maxLeaves:
		return
	case !v.IsValid():
		w.leaf(path, "nil")
		return
	case depth > maxDepth:
		w.leaf(path, "…")
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() && v.CanInterface() {
		w.leaf(path, v.Interface().(time.Time).Format(time.RFC3339Nano))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.NumField() == 0 {
			w.leaf(path, "{}")
		}
		for i := range v.NumField() {
			w.walk(join(path, v.Type().Field(i).Name), v.Field(i), depth+1)
		}
	case reflect.Pointer, reflect.Map, reflect.Slice:
		w.reference(path, v, depth)
	case reflect.Array:
		w.elements(path, v, depth)
	case reflect.Interface:
		if v.IsNil() {
			w.leaf(path, "nil")
			return
		}
		inner := v.Elem()
		if simpleKind(inner.Kind()) { // deeply equal interfaces hold one type
			w.leaf(path, fmt.Sprintf("%v(%s)", inner.Type(), scalar(inner)))
			return
		}
		w.walk(path, inner, depth+1)
	default:
		w.leaf(path, scalar(v))
	}
}

// reference walks what may be nil, and may lead back to itself.
func (w *walker) reference(path string, v reflect.Value, depth int) {
	if v.IsNil() {
		w.leaf(path, "nil")
		return
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		w.leaf(path, quote(bytesOf(v)))
		return
	}
	here := visit{v.Pointer(), v.Type()}
	if w.visited[here] {
		w.leaf(path, "(itself)")
		return
	}
	w.visited[here] = true
	defer delete(w.visited, here)
	switch v.Kind() {
	case reflect.Pointer:
		w.walk(path, v.Elem(), depth+1)
	case reflect.Map:
		w.entries(path, v, depth)
	default:
		w.elements(path, v, depth)
	}
}

func (w *walker) elements(path string, v reflect.Value, depth int) {
	if v.Len() == 0 {
		w.leaf(path, "[]")
	}
	for i := range min(v.Len(), maxLeaves) {
		w.walk(path+"["+strconv.Itoa(i)+"]", v.Index(i), depth+1)
	}
}

func (w *walker) entries(path string, v reflect.Value, depth int) {
	if v.Len() == 0 {
		w.leaf(path, "map[]")
	}
	type entry struct {
		key   string
		value reflect.Value
	}
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key := it.Key()
		if key.Kind() == reflect.Interface {
			key = key.Elem()
		}
		entries = append(entries, entry{keyText(key), it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	for _, e := range entries {
		w.walk(path+"["+e.key+"]", e.value, depth+1)
	}
}

// keyText is a map's key.
func keyText(key reflect.Value) string {
	if key.IsValid() && simpleKind(key.Kind()) {
		return scalar(key)
	}
	var parts []string
	inner := walker{visited: make(map[visit]bool)}
	inner.walk("", key, 0)
	for _, l := range inner.leaves {
		parts = append(parts, l.text)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// simpleKind tells whether scalar shows a value of that kind completely.
func simpleKind(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Complex128 || k == reflect.String
}

// scalar is a value without parts. It reads unexported fields too.
func scalar(v reflect.Value) string {
	switch k := v.Kind(); {
	case k == reflect.String:
		return strconv.Quote(v.String())
	case k == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
	case v.CanComplex():
		return strconv.FormatComplex(v.Complex(), 'g', -1, v.Type().Bits())
	case (k == reflect.Func || k == reflect.Chan || k == reflect.UnsafePointer) && v.IsNil():
		return "nil"
	}
	return "a " + v.Type().String()
}

func bytesOf(v reflect.Value) []byte {
	b := make([]byte, v.Len())
	for i := range b {
		b[i] = byte(v.Index(i).Uint())
	}
	return b
}
