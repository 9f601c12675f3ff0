package wire

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPlain compares the looks at eight bytes with those at one, for bytes that stand beside each other and tempt the
// subtraction to borrow.
func TestPlain(t *testing.T) {
	tempting := rapid.SampledFrom([]byte{0, 1, 0x1f, ' ', '!', '"', '#', '[', '\\', ']', '~', 0x7f, 0x80, 0x9f, 0xa0, 0xa2, 0xdc, 0xff, 'a'})
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.OneOf(tempting, rapid.Just(byte('a')), rapid.Byte()), 0, 40).Draw(t, "text"))
		special := func(r byte) bool { return r < 0x20 || r == '"' || r == '\\' }
		for from := range len(text) + 1 {
			want := from
			for want < len(text) && !special(text[want]) {
				want++
			}
			if got := skipPlain(text, from); got != want {
				t.Fatalf("%q from %d: %d, want %d", text, from, got, want)
			}
			plain := !strings.ContainsFunc(text[from:], func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' || r >= 0x7f })
			if got := isPlain(text[from:]); got != plain {
				t.Fatalf("%q: %v", text[from:], got)
			}
		}
	})
}
