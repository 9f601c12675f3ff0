// Package resp is what is needed of Redis' protocol. A publisher writes commands and reads the replies of RESP2 with it;
// Scanner watches over what other clients read. It does no I/O.
package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// ErrUnasked is why a connection ends on which the server says more than it was asked.
var ErrUnasked = errors.New("redis: the server sent a reply that was not asked for")

// Kind is what a reply is.
type Kind uint8

// The kinds of replies.
const (
	Integer Kind = iota // N
	Text                // Text; a status or a string
	Nil                 // no string
	Failure             // Text says why
	List                // Text is the array as it arrived, see Words
)

// Reply is what a server answers to one command.
type Reply struct {
	Kind Kind
	N    int64
	Text string
}

// Error is a reply that is a failure, as the server put it.
type Error string

// Error is the server's text.
func (e Error) Error() string { return string(e) }

// Err returns the reply's failure as an Error; nil if it is none.
func (r Reply) Err() error {
	if r.Kind == Failure {
		return Error(r.Text)
	}
	return nil
}

// Append appends a command.
func Append(dst []byte, words ...string) []byte {
	dst = header(dst, '*', len(words))
	for _, w := range words {
		dst = header(dst, '$', len(w))
		dst = append(dst, w...)
		dst = append(dst, end...)
	}
	return dst
}

// AppendPublish appends an SPUBLISH.
func AppendPublish(dst []byte, channel string, message []byte) []byte {
	dst = append(dst, "*3\r\n$8\r\nSPUBLISH\r\n"...)
	dst = header(dst, '$', len(channel))
	dst = append(dst, channel...)
	dst = append(dst, "\r\n$"...)
	dst = strconv.AppendInt(dst, int64(len(message)), 10)
	dst = append(dst, end...)
	dst = append(dst, message...)
	return append(dst, end...)
}

const end = "\r\n"

func header(dst []byte, mark byte, n int) []byte {
	dst = append(dst, mark)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, end...)
}

// Bounds of a reply. No server comes near them in answer to what a publisher asks.
const (
	maxLine = 64 << 10
	maxText = 1 << 20
	maxList = 1 << 10 // elements
)

// ErrProtocol is what Read's errors wrap: what arrives is no reply that is understood.
var ErrProtocol = errors.New("not a known reply")

// Read reads the reply at the beginning of buf and returns how many bytes it takes; 0 if it is not all there yet. After
// an error the connection is of no use: where the next reply begins is not known.
func Read(buf []byte) (r Reply, n int, err error) {
	at := bytes.IndexByte(buf, '\n')
	switch {
	case at < 0 && len(buf) <= maxLine:
		return r, 0, nil
	case at < 2 || at > maxLine || buf[at-1] != '\r':
		return r, 0, fmt.Errorf("%w: a line of %d bytes", ErrProtocol, max(at, len(buf)))
	}
	line, n := buf[1:at-1], at+1
	switch buf[0] {
	case ':':
		r.N, err = number(line)
		return r, n, err
	case '+':
		return Reply{Kind: Text, Text: string(line)}, n, nil
	case '-':
		return Reply{Kind: Failure, Text: string(line)}, n, nil
	case '$':
		size, err := number(line)
		switch {
		case err != nil:
			return r, 0, err
		case size == -1:
			return Reply{Kind: Nil}, n, nil
		case size < 0 || size > maxText:
			return r, 0, fmt.Errorf("%w: a string of %d bytes", ErrProtocol, size)
		}
		text, all := buf[n:], int(size)+len(end)
		if len(text) < all {
			return r, 0, nil
		}
		if string(text[size:all]) != end {
			return r, 0, fmt.Errorf("%w: a string that does not end", ErrProtocol)
		}
		return Reply{Kind: Text, Text: string(text[:size])}, n + all, nil
	case '*':
		n, done, err := NewScanner(Limits{Bulk: maxText, Elements: maxList}).Next(buf)
		switch {
		case err != nil:
			return r, 0, err
		case !done && len(buf) > maxText:
			return r, 0, fmt.Errorf("%w: an array of more than %d bytes", ErrProtocol, maxText)
		case !done:
			return r, 0, nil
		}
		return Reply{Kind: List, Text: string(buf[:n])}, n, nil
	}
	return r, 0, fmt.Errorf("%w: it begins with %q", ErrProtocol, buf[0])
}

// number reads a line that is nothing but a number. Those of SPUBLISH have a digit or two, so no string is made of them.
func number(line []byte) (int64, error) {
	if len(line) == 1 && line[0] >= '0' && line[0] <= '9' {
		return int64(line[0] - '0'), nil
	}
	n, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no number", ErrProtocol, line)
	}
	return n, nil
}
