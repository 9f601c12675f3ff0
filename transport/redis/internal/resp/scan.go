package resp

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits bound what one message of a server may be. They exist for clients that trust a length and allocate it.
type Limits struct {
	Bulk     int // bytes of one string
	Elements int // of one message, those of arrays within it included
}

// Bounds that no server comes near.
const (
	maxDepth = 16 // arrays within arrays
	maxHead  = 256
)

// Scanner reads a stream of messages, RESP2 or RESP3, in whatever pieces it arrives, and refuses what no server sends:
// lengths and depths beyond the limits, numbers that are none, strings of unknown length, attributes. It does no I/O, keeps
// nothing of a string but its beginning, and allocates nothing. Make one with NewScanner.
type Scanner struct {
	limits Limits

	text    int // bytes of a string and its end that are yet to come; 0: a line comes
	lineLen int // of the line that is being read
	last    byte
	kept    int // of line
	line    [maxHead]byte

	depth    int
	left     [maxDepth]int // elements that are yet to come, by depth
	elements int
	started  bool
	m        Message
}

// Message is what a Scanner tells of a message.
type Message struct {
	Type byte // the first byte: '+' '-' ':' '$' '*' '>' …
	N    int  // elements, if it is an array or the like; of a map keys and values both count
	Null bool // a string or an array that is none

	known   bool // head is all that is wanted
	headLen int
	head    [maxHead]byte
}

// Head is the text of a message that is one, or of the first element of one that is an array; its first 256 bytes. It is
// valid until the Scanner goes on. Empty: that is no text.
func (m *Message) Head() []byte { return m.head[:m.headLen] }

// NewScanner returns a Scanner at the beginning of a message.
func NewScanner(limits Limits) *Scanner { return &Scanner{limits: limits} }

// Message is the one that Next was done with last, or is at.
func (s *Scanner) Message() *Message { return &s.m }

// Between reports whether the Scanner is at the beginning of a message.
func (s *Scanner) Between() bool { return !s.started }

// Next reads on until the end of a message, which done says, or of buf. It returns how much of buf it has read. After an
// error, which wraps ErrProtocol, the Scanner is of no use any more.
func (s *Scanner) Next(buf []byte) (n int, done bool, err error) {
	for n < len(buf) {
		if !s.started {
			s.started, s.elements = true, 0
			s.m.Type, s.m.N, s.m.Null, s.m.known, s.m.headLen = 0, 0, false, false, 0
		}
		if s.text > 0 {
			took, err := s.readText(buf[n:])
			n += took
			switch {
			case err != nil:
				return n, false, err
			case s.text > 0:
				return n, false, nil
			case s.ended():
				return n, true, nil
			}
			continue
		}
		line, took, err := s.readLine(buf[n:])
		n += took
		switch {
		case err != nil:
			return n, false, err
		case line == nil:
			return n, false, nil
		}
		whole, err := s.begin(line)
		if err != nil {
			return n, false, err
		}
		if whole && s.ended() {
			return n, true, nil
		}
	}
	return n, false, nil
}

// ended notes that a value has ended, and reports whether the message has.
func (s *Scanner) ended() bool {
	s.m.known = true
	for s.depth > 0 {
		if s.left[s.depth-1]--; s.left[s.depth-1] > 0 {
			return false
		}
		s.depth--
	}
	s.started = false
	return true
}

// readText skips what buf has of a string. Its end has to be there.
func (s *Scanner) readText(buf []byte) (n int, err error) {
	n = min(s.text, len(buf))
	if text := s.text - len(end); !s.m.known && text > 0 {
		s.keep(buf[:min(n, text)])
	}
	for i := range len(end) {
		if at := s.text - len(end) + i; at >= 0 && at < n && buf[at] != end[i] {
			return n, fmt.Errorf("%w: a string that does not end", ErrProtocol)
		}
	}
	s.text -= n
	return n, nil
}

// keep adds to the head.
func (s *Scanner) keep(text []byte) {
	s.m.headLen += copy(s.m.head[s.m.headLen:], text)
}

// readLine reads a line to its end; nil: it is not all there. What is beyond maxHead is left out.
func (s *Scanner) readLine(buf []byte) (line []byte, n int, err error) {
	at := bytes.IndexByte(buf[:min(len(buf), maxLine+1-s.lineLen)], '\n')
	if at < 0 {
		n = len(buf)
		if s.lineLen+n > maxLine {
			return nil, n, fmt.Errorf("%w: a line of more than %d bytes", ErrProtocol, maxLine)
		}
		s.kept += copy(s.line[s.kept:], buf)
		s.lineLen += n
		s.last = buf[n-1]
		if short := s.line[:min(s.kept, s.lineLen)]; !begins(short) {
			return nil, n, fmt.Errorf("%w: %q", ErrProtocol, short)
		}
		return nil, n, nil
	}
	if at > 0 {
		s.last = buf[at-1]
	}
	if size := s.lineLen + at; size < 2 || s.last != '\r' {
		return nil, at, fmt.Errorf("%w: a line of %d bytes", ErrProtocol, size)
	}
	if s.lineLen == 0 {
		return buf[:min(at-1, maxHead)], at + 1, nil
	}
	s.kept += copy(s.line[s.kept:], buf[:at])
	line = s.line[:min(s.kept, s.lineLen+at-1)]
	s.kept, s.lineLen, s.last = 0, 0, 0
	return line, at + 1, nil
}

// begins reports whether a line of which so much is there may be one. Clients read values of a known length without looking
// for the end of their line, those of types that begin refuses among them.
func begins(line []byte) bool {
	switch line[0] {
	case '_':
		return strings.HasPrefix("_"+end, string(line))
	case '#':
		return strings.HasPrefix("#t"+end, string(line)) || strings.HasPrefix("#f"+end, string(line))
	}
	return strings.IndexByte("+-(,:$!=*~%>", line[0]) >= 0
}

// begin takes in a line, and reports whether that is all of a value.
func (s *Scanner) begin(line []byte) (whole bool, err error) {
	kind, rest := line[0], line[1:]
	if s.m.Type == 0 {
		s.m.Type = kind
	}
	switch kind {
	case '+', '-', '(', ',':
		if !s.m.known {
			s.keep(rest)
		}
		return true, nil
	case ':':
		_, err := number(rest)
		return true, err
	case '#':
		if len(rest) != 1 || rest[0] != 't' && rest[0] != 'f' {
			return false, fmt.Errorf("%w: %q is neither true nor false", ErrProtocol, rest)
		}
		return true, nil
	case '_':
		if len(rest) > 0 {
			return false, fmt.Errorf("%w: a null with %q", ErrProtocol, rest)
		}
		s.null()
		return true, nil
	case '$', '!', '=':
		size, err := number(rest)
		switch {
		case err != nil:
			return false, err
		case size == -1 && kind == '$':
			s.null()
			return true, nil
		case size < 0 || size > int64(s.limits.Bulk):
			return false, fmt.Errorf("%w: a string of %d bytes, more than %d", ErrProtocol, size, s.limits.Bulk)
		}
		s.text = int(size) + len(end)
		return false, nil
	case '*', '~', '%', '>':
		return s.open(kind, rest)
	}
	return false, fmt.Errorf("%w: it begins with %q", ErrProtocol, kind)
}

func (s *Scanner) null() {
	if s.depth == 0 {
		s.m.Null = true
	}
}

// open begins an array or the like.
func (s *Scanner) open(kind byte, size []byte) (whole bool, err error) {
	n, err := number(size)
	if kind == '%' && n > 0 {
		n *= 2
	}
	switch {
	case err != nil:
		return false, err
	case n == -1 && kind == '*':
		s.null()
		return true, nil
	case kind == '>' && s.depth > 0:
		return false, fmt.Errorf("%w: a push within another message", ErrProtocol)
	case n < 0 || n > int64(s.limits.Elements-s.elements):
		return false, fmt.Errorf("%w: a message of %d elements and more, beyond %d", ErrProtocol, n, s.limits.Elements)
	case s.depth == maxDepth:
		return false, fmt.Errorf("%w: arrays nested beyond %d", ErrProtocol, maxDepth)
	}
	if s.depth == 0 {
		s.m.N = int(n)
	} else {
		s.m.known = true // the first element is no text
	}
	if n == 0 {
		return true, nil
	}
	s.elements += int(n)
	s.left[s.depth] = int(n)
	s.depth++
	return false, nil
}

// Words returns the elements of an array or a map that is all there and that a Scanner has found well: texts and numbers as
// they are, others empty. Of what is no array it returns the text alone.
func Words(message []byte) []string {
	s := NewScanner(Limits{Bulk: len(message), Elements: len(message)})
	var words []string
	for n := 0; n < len(message); {
		line, took, err := s.readLine(message[n:])
		if err != nil || line == nil {
			return words
		}
		n += took
		before := s.depth
		whole, err := s.begin(line)
		switch {
		case err != nil:
			return words
		case s.text > 0:
			text := message[n : n+s.text-len(end)]
			n, s.text, whole = n+s.text, 0, true
			if before <= 1 {
				words = append(words, string(text))
			}
		case before == 1 || before == 0 && !isList(line[0]):
			words = append(words, wordOf(line))
		}
		if whole && s.ended() {
			return words
		}
	}
	return words
}

// wordOf is the text of a value that is a line.
func wordOf(line []byte) string {
	switch line[0] {
	case '+', '-', ':', '(', ',', '#':
		return string(line[1:])
	}
	return ""
}

func isList(kind byte) bool { return kind == '*' || kind == '%' || kind == '~' || kind == '>' }
