package redistest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// CommandTimeout bounds a command, and dialling, whose context has no earlier
// deadline. Of several that are sent at once it bounds the wait for each reply:
// a busy server may take seconds for a hundred of them.
const CommandTimeout = 5 * time.Second

// A ReplyError is an error a server replied with, such as "MOVED 0 …".
type ReplyError string

// Error returns the server's words.
func (e ReplyError) Error() string { return string(e) }

// A conn is one connection to a server, speaking RESP2. It is for one
// goroutine at a time. It is deliberately not the client under test, so that a
// fault in that client cannot hide itself.
type conn struct {
	net net.Conn
	r   *bufio.Reader
}

// dial connects to addr, over TLS unless secure is nil, and logs in unless
// user is empty.
func dial(ctx context.Context, addr string, secure *tls.Config, user, password string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, CommandTimeout)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		// Close by reset: polling would else leave thousands of ports in TIME_WAIT.
		_ = tcp.SetLinger(0)
	}
	c := &conn{net: raw}
	if secure != nil {
		c.net = tls.Client(raw, secure)
	}
	c.r = bufio.NewReader(c.net)
	if user != "" {
		if _, err := c.do(ctx, "AUTH", user, password); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// close ends the connection.
func (c *conn) close() { _ = c.net.Close() }

// do sends one command and returns its reply; an error reply is the error.
func (c *conn) do(ctx context.Context, args ...string) (any, error) {
	replies, err := c.pipeline(ctx, [][]string{args})
	if err != nil {
		return nil, err
	}
	if e, ok := replies[0].(ReplyError); ok {
		return nil, e
	}
	return replies[0], nil
}

// pipeline sends all of the commands at once and returns their replies in
// order, error replies among them. After an error the connection is of no use.
func (c *conn) pipeline(ctx context.Context, commands [][]string) ([]any, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.extend(ctx); err != nil {
		return nil, err
	}

	var out []byte
	for _, args := range commands {
		out = appendCommand(out, args)
	}
	if _, err := c.net.Write(out); err != nil {
		return nil, because(ctx, err)
	}
	replies := make([]any, 0, len(commands))
	for range commands {
		if err := c.extend(ctx); err != nil {
			return nil, err
		}
		reply, err := readReply(c.r)
		if err != nil {
			return nil, because(ctx, err)
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

// extend gives the next step CommandTimeout, or what is left of ctx.
func (c *conn) extend(ctx context.Context) error {
	limit := time.Now().Add(CommandTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(limit) {
		limit = deadline
	}
	if err := c.net.SetDeadline(limit); err != nil {
		return err
	}
	return ctx.Err() // it may have ended before the deadline was set
}

// because returns err, and with it the end of ctx if that was the reason.
func because(ctx context.Context, err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		if ctx.Err() == nil { // the connection's clock was a little faster
			return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// appendCommand appends args in the form of a request: an array of bulk strings.
func appendCommand(out []byte, args []string) []byte {
	out = append(out, '*')
	out = strconv.AppendInt(out, int64(len(args)), 10)
	out = append(out, "\r\n"...)
	for _, a := range args {
		out = append(out, '$')
		out = strconv.AppendInt(out, int64(len(a)), 10)
		out = append(out, "\r\n"...)
		out = append(out, a...)
		out = append(out, "\r\n"...)
	}
	return out
}

// readReply reads one reply: a string, int64, nil, []any of these, or a
// [ReplyError].
func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("redistest: malformed reply %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return ReplyError(rest), nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '$', '*':
		n, err := strconv.Atoi(rest)
		if err != nil {
			return nil, fmt.Errorf("redistest: malformed reply %q", line)
		}
		if n < 0 {
			return nil, nil
		}
		if kind == '$' {
			return readBulk(r, n)
		}
		return readArray(r, n)
	default:
		return nil, fmt.Errorf("redistest: malformed reply %q", line)
	}
}

// readBulk reads the n bytes of a bulk string and its end of line.
func readBulk(r *bufio.Reader, n int) (any, error) {
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return string(b[:n]), nil
}

// readArray reads the n elements of an array.
func readArray(r *bufio.Reader, n int) (any, error) {
	a := make([]any, n)
	for i := range a {
		v, err := readReply(r)
		if err != nil {
			return nil, err
		}
		a[i] = v
	}
	return a, nil
}
