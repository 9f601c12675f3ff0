package main

import (
	"slices"
	"testing"
)

func TestLoad(t *testing.T) {
	t.Chdir("testdata")
	packages, err := load([]string{"./..."})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 1 || packages[0].path != "example.com/sets/p" || packages[0].files != 5 {
		t.Fatalf("loaded %+v", packages)
	}
	refs := packages[0].refs
	if got, want := refs.largestSet(), []string{"list.go", "pair.go", "store.go"}; !slices.Equal(got, want) {
		t.Errorf("the largest set is %v, want %v", got, want)
	}
	for _, c := range []struct {
		from, to, uses string
		count          int
	}{
		{"pair.go", "store.go", "newStore, size", 2}, // a function and a method
		{"store.go", "list.go", "all, list", 2},      // a field of a generic type, and the type
		{"list.go", "pair.go", "left, pair", 2},      // an embedded type and its field
		{"top.go", "pair.go", "pair, sum", 2},        // a type and a method
		{"top.go", "store.go", "newStore", 1},        // a function
		{"store.go", "pair.go", "pair", 1},           // a type argument
		{"leaf.go", "top.go", "", 0},                 // none
		{"loop_test.go", "top.go", "", 0},            // a test
		{"list.go", "leaf.go", "leaf", 1},            // a constant
	} {
		r := refs[c.from][c.to]
		if r.count != c.count || r.describe(6) != c.uses {
			t.Errorf("%s → %s: %d uses of %q, want %d of %q", c.from, c.to, r.count, r.describe(6), c.count, c.uses)
		}
	}
}

func TestLoadFails(t *testing.T) {
	t.Chdir("testdata")
	if packages, err := load([]string{"./nowhere"}); err == nil {
		t.Errorf("loaded %+v of a package that does not exist", packages)
	}
}
