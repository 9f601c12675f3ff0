package router

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "flights.departed", "A-Z_0:9", ":", strings.Repeat("x", MaxName)} {
		if err := ValidName(name); err != nil {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
	for _, c := range []struct{ name, says string }{
		{"", "it is empty"},
		{strings.Repeat("x", MaxName+1), "it has 201 bytes, the limit is 200"},
		{"a{b}", "byte 0x7b at position 1"},
		{"orders!", "byte 0x21 at position 6"},
		{"or ders", "byte 0x20 at position 2"},
		{"Zürich", "byte 0xc3 at position 1"},
		{"a\x00", "byte 0x00 at position 1"},
	} {
		err := ValidName(c.name)
		if !errors.Is(err, ErrInvalidName) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ValidName(%q) = %v, want an ErrInvalidName that says %q", c.name, err, c.says)
		}
	}
}

// nameGrammar is the rule as the documentation states it.
var nameGrammar = regexp.MustCompile(`\A[A-Za-z0-9._:-]{1,200}\z`)

// anyName draws valid names, with what could confuse a parser of channels drawn often.
func anyName() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9._:-]{1,20}`),
		rapid.StringMatching(`([ab0]|:p|:p0|:log|:){1,5}`),
	)
}

func FuzzValidName(f *testing.F) {
	for _, name := range []string{"", "orders", "a{b}", "a\n", "\xff", strings.Repeat("x", 201)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err, want := ValidName(name), nameGrammar.MatchString(name)
		if (err == nil) != want || validName(name) != want {
			t.Fatalf("ValidName(%q) = %v, validName = %v, the grammar says %v", name, err, validName(name), want)
		}
		if err == nil && Slot("{"+name+"}:log") != Slot(name) {
			t.Fatalf("%q: its stream lies on another slot than its channel", name)
		}
	})
}
