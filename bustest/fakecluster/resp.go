package fakecluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what a client may send, those of a real server.
const (
	maxWords = 1 << 20
	maxBulk  = 512 << 20
)

var errProtocol = errors.New("fakecluster: the client does not speak RESP")

// readCommand reads one command: an array of bulk strings. An empty array is no command, and nil.
func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*', maxWords)
	if err != nil || n <= 0 {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(r, '$', maxBulk)
		if err != nil {
			return nil, err
		}
		if size < 0 {
			return nil, errProtocol
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, fmt.Errorf("fakecluster: %w", err)
		}
		if word[size] != '\r' || word[size+1] != '\n' {
			return nil, errProtocol
		}
		args[i] = string(word[:size])
	}
	return args, nil
}

// readLength reads a line that is a number behind a mark.
func readLength(r *bufio.Reader, mark byte, limit int) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("fakecluster: %w", err)
	}
	if len(line) < 4 || line[0] != mark || line[len(line)-2] != '\r' {
		return 0, errProtocol
	}
	n, err := strconv.Atoi(line[1 : len(line)-2])
	if err != nil || n > limit {
		return 0, errProtocol
	}
	return n, nil
}

// reply builds what is written to a client, in its protocol.
type reply struct {
	buf   []byte
	resp3 bool
}

// Write appends p: a reply is what the backend's commands write to.
func (r *reply) Write(p []byte) (int, error) {
	r.buf = append(r.buf, p...)
	return len(p), nil
}

func (r *reply) head(mark byte, n int) {
	r.buf = append(r.buf, mark)
	r.buf = strconv.AppendInt(r.buf, int64(n), 10)
	r.buf = append(r.buf, '\r', '\n')
}

func (r *reply) int(n int)   { r.head(':', n) }
func (r *reply) array(n int) { r.head('*', n) }
func (r *reply) ok()         { r.simple("OK") }

// object begins a map of n pairs.
func (r *reply) object(n int) {
	if r.resp3 {
		r.head('%', n)
		return
	}
	r.array(2 * n)
}

// push begins an out-of-band message.
func (r *reply) push(n int) {
	if r.resp3 {
		r.head('>', n)
		return
	}
	r.array(n)
}

func (r *reply) null() {
	if r.resp3 {
		r.buf = append(r.buf, "_\r\n"...)
		return
	}
	r.buf = append(r.buf, "$-1\r\n"...)
}

func (r *reply) bulk(s string) {
	r.head('$', len(s))
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, '\r', '\n')
}

func (r *reply) simple(s string) {
	r.buf = append(r.buf, '+')
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, '\r', '\n')
}

// err writes an error; what would break its line is replaced.
func (r *reply) err(format string, args ...any) {
	r.buf = append(r.buf, '-')
	r.buf = append(r.buf, oneLine.Replace(fmt.Sprintf(format, args...))...)
	r.buf = append(r.buf, '\r', '\n')
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")
