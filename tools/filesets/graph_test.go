package main

import (
	"slices"
	"strings"
	"testing"
)

// of makes a graph of references such as "a→b": as many uses as there are of the same.
func of(refs string) graph {
	g := make(graph)
	for _, r := range strings.Fields(refs) {
		from, to, _ := strings.Cut(r, "→")
		g.add(from, to, to)
	}
	return g
}

func TestLargestSet(t *testing.T) {
	for refs, want := range map[string]string{
		"":                        "",
		"a→a":                     "",
		"a→b b→c a→c":             "",
		"a→b b→a":                 "a b",
		"a→b b→c c→a c→d d→e e→d": "a b c",
		"a→b b→a c→d d→e e→c b→c": "c d e",
		"a→b b→a c→d d→c":         "a b", // of two as large the first by name
		"a→b b→c c→d d→b d→e e→f f→e e→a": "a b c d e f",
		"a→b a→c b→d c→d d→a x→a d→y y→z": "a b c d",
		"m→n n→o o→p p→q q→m q→a a→b b→c": "m n o p q",
	} {
		if got := strings.Join(of(refs).largestSet(), " "); got != want {
			t.Errorf("%s: got %q, want %q", refs, got, want)
		}
	}
}

// TestToCut: without the references that it names no two files reach each other, and where the least is known it names no
// more.
func TestToCut(t *testing.T) {
	for refs, want := range map[string]int{
		"a→b b→a":                 1,
		"a→b a→b b→a":             1,
		"a→b b→c c→a":             1,
		"a→b b→c c→a a→c":         1,
		"a→b b→a b→c c→b a→c c→a": 3,
		"a→b b→c c→d d→a a→b b→c c→d a→c b→d": 1,
	} {
		g := of(refs)
		cut := g.toCut(g.largestSet())
		uses := 0
		for _, r := range cut {
			uses += r.count
			delete(g[r.from], r.to)
		}
		if left := g.largestSet(); left != nil {
			t.Errorf("%s: without %v there is still %v", refs, cut, left)
		}
		if uses != want {
			t.Errorf("%s: %d uses would go (%v), want %d", refs, uses, cut, want)
		}
	}
}

func TestInside(t *testing.T) {
	var got []string
	for _, r := range of("a→b a→b b→a b→c c→a c→d").inside([]string{"a", "b", "c"}) {
		got = append(got, r.from+"→"+r.to)
	}
	if want := []string{"b→a", "b→c", "c→a", "a→b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReport(t *testing.T) {
	packages := []pkg{{path: "p", files: 4, refs: of("a→b b→c c→a c→d")}}
	for _, c := range []struct {
		max      int
		all      bool
		excepted map[string]int
		ok       bool
		says     string
	}{
		{0, false, nil, true, "p: 3 of 4 files reach each other\n"},
		{0, true, nil, true, "p: 3 of 4 files reach each other\n     1  a → b: b\n     1  b → c: c\n     1  c → a: a\n"},
		{3, false, nil, true, ""},
		{2, false, nil, false, "p: 3 of 4 files reach each other: 2 are allowed\n" +
			"  without these references none of them would:\n     1  c → a: a\n"},
		{2, false, map[string]int{"p": 3}, true, ""},
		{2, false, map[string]int{"p": 4}, true, "p: 3 of 4 files reach each other: its exception can become 3\n"},
		{3, false, map[string]int{"p": 4}, false, "p: 3 of 4 files reach each other: its exception can go\n"},
		{2, false, map[string]int{"q": 4}, false, "p: 3 of 4 files reach each other: 2 are allowed\n" +
			"  without these references none of them would:\n     1  c → a: a\n"},
	} {
		var out strings.Builder
		ok := report(&out, packages, c.max, c.all, c.excepted)
		if ok != c.ok || out.String() != c.says {
			t.Errorf("max %d, all %v, exceptions %v: %v,\n%swant %v,\n%s", c.max, c.all, c.excepted, ok, &out, c.ok, c.says)
		}
	}
}
