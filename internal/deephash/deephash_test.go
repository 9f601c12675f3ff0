package deephash_test

import (
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/internal/deephash"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sum(t testing.TB, v any) uint64 {
	t.Helper()
	h, ok := deephash.Sum(reflect.ValueOf(v))
	if !ok {
		t.Fatalf("%T is too large", v)
	}
	return h
}

type leaf struct {
	N    int
	F    float64
	C    complex64
	B    bool
	U    uint8
	text string
}

type tree struct {
	leaf
	Bytes  []byte
	Array  [2]leaf
	Kids   []*tree
	ByName map[string]*leaf
	Any    any
	Up     *tree
	Time   time.Time
}

func grown() *tree {
	t := &tree{
		leaf: leaf{1, 2, 3, true, 4, "five"}, Bytes: []byte("abc"), Array: [2]leaf{{N: 1}, {N: 2}},
		ByName: map[string]*leaf{"x": {N: 1}, "y": {N: 2}, "z": nil}, Any: map[int][]string{1: {"a"}}, Time: time.Now(),
	}
	t.Kids = []*tree{{Up: t}, nil, {leaf: leaf{N: 7}, Up: t}}
	return t
}

// Whatever is changed, however deep, shows; and nothing shows where nothing was.
func TestChangesShow(t *testing.T) {
	for name, change := range map[string]func(*tree){
		"a number":               func(t *tree) { t.N++ },
		"a float":                func(t *tree) { t.F = -2 },
		"a complex number":       func(t *tree) { t.C = 3i },
		"a bool":                 func(t *tree) { t.B = false },
		"a byte":                 func(t *tree) { t.U++ },
		"an unexported field":    func(t *tree) { t.text = "six" },
		"an element of bytes":    func(t *tree) { t.Bytes[2]++ },
		"a length":               func(t *tree) { t.Bytes = t.Bytes[:2] },
		"an element of an array": func(t *tree) { t.Array[1].N++ },
		"what a pointer leads to": func(t *tree) {
			t.Kids[2].N++
		},
		"a pointer to nil":      func(t *tree) { t.Kids[0] = nil },
		"a map's entry":         func(t *tree) { t.ByName["x"].N = 3 },
		"two entries exchanged": func(t *tree) { t.ByName["x"], t.ByName["y"] = t.ByName["y"], t.ByName["x"] },
		"a map's entry deleted": func(t *tree) { delete(t.ByName, "z") },
		"inside an interface":   func(t *tree) { t.Any.(map[int][]string)[1][0] = "b" },
		"an interface's type":   func(t *tree) { t.Any = int64(1) },
		"a time":                func(t *tree) { t.Time = t.Time.Add(1) },
		"a slice to nil":        func(t *tree) { t.Bytes = nil },
		"a map to nil":          func(t *tree) { t.ByName = nil },
	} {
		v := grown()
		before := sum(t, v)
		if again := sum(t, v); again != before {
			t.Fatalf("%s: the sum of one value is %x and %x", name, before, again)
		}
		change(v)
		if sum(t, v) == before {
			t.Errorf("%s: the sum has not changed", name)
		}
	}
}

// What has a lock of its own may be changed in order, and what a pointer to it leads to.
func TestWhatGuardsItselfIsNotLookedAt(t *testing.T) {
	type counter struct {
		n atomic.Int64
		m int
	}
	type locked struct {
		mu *sync.Mutex
		n  int
	}
	v := struct {
		*counter
		l    locked
		many [2]counter
	}{counter: new(counter), l: locked{mu: new(sync.Mutex)}}
	before := sum(t, &v)
	v.n.Add(1)
	v.m, v.l.n, v.many[1].m = 1, 1, 1
	if sum(t, &v) != before {
		t.Error("a change under a lock shows")
	}
}

func TestTooLarge(t *testing.T) {
	if _, ok := deephash.Sum(reflect.ValueOf(make([]string, 1<<17))); ok {
		t.Error("131,072 strings were looked at")
	}
	var deep any
	for range 1 << 17 {
		deep = []any{deep, deep}
	}
	if _, ok := deephash.Sum(reflect.ValueOf(deep)); ok {
		t.Error("2^131072 nodes were looked at")
	}
	if _, ok := deephash.Sum(reflect.ValueOf(make([]byte, 1<<20))); !ok {
		t.Error("a MiB of bytes is too large")
	}
}

// Cycles end, wherever they are met first.
func TestCycles(t *testing.T) {
	a, b := &tree{}, &tree{}
	a.Up, b.Up = b, a
	m := map[string]any{"a": a, "b": b}
	m["m"] = m
	s := []any{nil, m}
	s[0] = s
	before := sum(t, s)
	for range 50 { // a map has another order each time
		if sum(t, s) != before {
			t.Fatal("the sum of one value differs")
		}
	}
	b.N++
	if sum(t, s) == before {
		t.Error("a change within a cycle does not show")
	}
}

// The sum is one of the content: equal values have equal sums, others others.
func TestSumFollowsEquality(t *testing.T) {
	value := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SliceOfN(rapid.Ptr(rapid.IntRange(0, 2), true), 0, 3), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		ha, oka := deephash.Sum(reflect.ValueOf(a))
		hb, okb := deephash.Sum(reflect.ValueOf(b))
		if !oka || !okb || (ha == hb) != reflect.DeepEqual(a, b) {
			t.Fatalf("%v %x, %v %x", a, ha, b, hb)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	v := reflect.ValueOf(grown())
	for b.Loop() {
		deephash.Sum(v)
	}
}
