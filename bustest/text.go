package bustest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is how many bytes of a value a line shows.
const longest = 300

// oneLine is a value on one line, cut off where it is too long.
func oneLine(v any) string {
	text := clip(strings.ToValidUTF8(fmt.Sprintf("%+v", v), "·"), longest)
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
}

// clip cuts text after n bytes, between runes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:n], len(text))
}

// quote is a payload as text where it is that, else in hexadecimal.
func quote(payload []byte) string {
	if utf8.Valid(payload) {
		return clip(fmt.Sprintf("%q", payload), longest)
	}
	return clip(fmt.Sprintf("0x%x", payload), longest)
}

// shown is how many messages a failure lists.
const shown = 20
