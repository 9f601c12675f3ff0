package wire

import "math/bits"

// What follows looks at eight bytes of a text at once. A byte that fits sets the highest bit of its own in the result, and
// the lowest such bit is always right: what is subtracted is borrowed only from bytes above one that fits.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// word is the eight bytes of the text from at on, the first lowest. The compiler makes it one load.
func word(text string, at int) uint64 {
	b := text[at : at+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// quotes marks control characters, quotes and backslashes: what is not itself in a JSON string.
func quotes(x uint64) uint64 {
	quote, backslash := x^'"'*ones, x^'\\'*ones
	return ((x-0x20*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs
}

// skipPlain returns where the first control character, quote or backslash is from at on; the end if there is none.
func skipPlain(text string, at int) int {
	for at+8 <= len(text) {
		if found := quotes(word(text, at)); found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
		at += 8
	}
	for at < len(text) {
		if c := text[at]; c < 0x20 || c == '"' || c == '\\' {
			return at
		}
		at++
	}
	return at
}

// isPlain reports whether a text is printable ASCII without quotes and backslashes, and so its own JSON string.
func isPlain(text string) bool {
	at := 0
	for ; at+8 <= len(text); at += 8 {
		x := word(text, at)
		if del := x ^ 0x7f*ones; quotes(x)|x&highs|(del-ones)&^del&highs != 0 {
			return false
		}
	}
	for ; at < len(text); at++ {
		if c := text[at]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}
