package wire

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth is how deeply arrays and objects may nest.
const maxDepth = 512

// The functions below read JSON text from left to right: they take where something begins, and return where it ends, or
// bad at what is not JSON. A value that nests too deep is not looked at: tooDeep is what is returned then.
const (
	bad     = -1
	tooDeep = -2
)

// isJSON reports whether payload is one JSON value, in UTF-8 and without space around it.
func isJSON(payload []byte) bool {
	// The text is only read, and not kept.
	text := unsafe.String(unsafe.SliceData(payload), len(payload)) //nolint:gosec // see above
	return skipValue(text, 0, 0) == len(text) && utf8.ValidString(text)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func skipSpace(text string, at int) int {
	for at < len(text) && isSpace(text[at]) {
		at++
	}
	return at
}

// skipValue skips one value. There is no space before it.
func skipValue(text string, at, depth int) int {
	if at >= len(text) {
		return bad
	}
	if depth > maxDepth {
		return tooDeep
	}
	switch c := text[at]; {
	case c == '"':
		end, _ := skipString(text, at)
		return end
	case c == '{' || c == '[':
		return skipNested(text, at, depth)
	case c == 't':
		return skipWord(text, at, "true")
	case c == 'f':
		return skipWord(text, at, "false")
	case c == 'n':
		return skipWord(text, at, "null")
	case c == '-' || isDigit(c):
		return skipNumber(text, at)
	}
	return bad
}

// skipNested skips an object or an array.
func skipNested(text string, at, depth int) int {
	isObject, last := text[at] == '{', byte(']')
	if isObject {
		last = '}'
	}
	at = skipSpace(text, at+1)
	if at < len(text) && text[at] == last {
		return at + 1
	}
	for {
		if isObject {
			if at, _ = skipString(text, at); at < 0 {
				return bad
			}
			if at = skipSpace(text, at); at >= len(text) || text[at] != ':' {
				return bad
			}
			at = skipSpace(text, at+1)
		}
		if at = skipValue(text, at, depth+1); at < 0 {
			return at
		}
		if at = skipSpace(text, at); at >= len(text) {
			return bad
		}
		switch text[at] {
		case ',':
			at = skipSpace(text, at+1)
		case last:
			return at + 1
		default:
			return bad
		}
	}
}

func skipWord(text string, at int, w string) int {
	if !strings.HasPrefix(text[at:], w) {
		return bad
	}
	return at + len(w)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// skipDigits skips digits, at least one.
func skipDigits(text string, at int) int {
	from := at
	for at < len(text) && isDigit(text[at]) {
		at++
	}
	if at == from {
		return bad
	}
	return at
}

func skipNumber(text string, at int) int {
	if text[at] == '-' {
		at++
	}
	if at < len(text) && text[at] == '0' {
		at++
	} else if at = skipDigits(text, at); at < 0 {
		return bad
	}
	if at < len(text) && text[at] == '.' {
		if at = skipDigits(text, at+1); at < 0 {
			return bad
		}
	}
	if at < len(text) && (text[at] == 'e' || text[at] == 'E') {
		at++
		if at < len(text) && (text[at] == '+' || text[at] == '-') {
			at++
		}
		return skipDigits(text, at)
	}
	return at
}

// skipString skips a string, with its quotes, and returns whether it has escapes in it.
func skipString(text string, at int) (end int, escaped bool) {
	if at >= len(text) || text[at] != '"' {
		return bad, false
	}
	at++
	for {
		at = skipPlain(text, at)
		if at >= len(text) {
			return bad, false
		}
		switch text[at] {
		case '"':
			return at + 1, escaped
		case '\\':
			escaped = true
			if at = skipEscape(text, at+1); at < 0 {
				return bad, false
			}
		default:
			return bad, false
		}
	}
}

// skipEscape skips what follows a backslash.
func skipEscape(text string, at int) int {
	if at >= len(text) {
		return bad
	}
	if text[at] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, text[at]) < 0 {
			return bad
		}
		return at + 1
	}
	if len(text)-at < 5 {
		return bad
	}
	for i := at + 1; i < at+5; i++ {
		if hex(text[i]) < 0 {
			return bad
		}
	}
	return at + 5
}

func hex(c byte) rune {
	switch {
	case isDigit(c):
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// skipAny skips an object or array however deep it nests, by its brackets alone: what it skips need not be JSON.
func skipAny(text string, at int) int {
	for depth := 0; at < len(text); {
		switch text[at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		case '"':
			if at, _ = skipString(text, at); at < 0 {
				return bad
			}
			continue
		}
		at++
	}
	return bad
}

// scanner reads a document from left to right. Its methods are false at what is not JSON, and of no use then.
type scanner struct {
	text    string
	at      int
	broken  bool // the text is no UTF-8
	tooDeep bool // a value nests too deep
}

// take consumes c, with the space around it, if it is next.
func (s *scanner) take(c byte) bool {
	if at := s.at; at+1 < len(s.text) && s.text[at] == c && s.text[at+1] > ' ' { // as nearly always
		s.at = at + 1
		return true
	}
	return s.takeSpaced(c)
}

func (s *scanner) takeSpaced(c byte) bool {
	s.at = skipSpace(s.text, s.at)
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at = skipSpace(s.text, s.at+1)
		return true
	}
	return false
}

// value consumes one value and returns its text.
func (s *scanner) value() (string, bool) {
	from := s.at
	end := skipValue(s.text, from, 0)
	if end == tooDeep {
		s.tooDeep = true
		end = skipAny(s.text, from)
	}
	if s.at = end; end < 0 {
		return "", false
	}
	return s.text[from:end], true
}

// str consumes a string and returns its value, and whether it can be read: not if it is no UTF-8, or has half of a
// surrogate pair in it, which no text has.
func (s *scanner) str() (value string, readable, ok bool) {
	from := s.at
	end, escaped := skipString(s.text, from)
	if s.at = end; end < 0 {
		return "", false, false
	}
	value, readable = s.text[from+1:end-1], true
	if escaped {
		value, readable = unescape(value)
	}
	if s.broken && !utf8.ValidString(value) {
		readable = false
	}
	return value, readable, true
}

// unescape resolves the escapes of a string that was scanned. It is false at a lone surrogate.
func unescape(raw string) (text string, ok bool) {
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r := unit(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if strings.HasPrefix(raw[i+1:], `\u`) {
					low = unit(raw[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return "", false
				}
				i += 6
			}
			b.WriteRune(r)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// unit reads four hexadecimal digits.
func unit(s string) rune {
	return hex(s[0])<<12 | hex(s[1])<<8 | hex(s[2])<<4 | hex(s[3])
}
