package conn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Bounds of what a server may send. rueidis believes a server: it allocates what a length says, and
// a negative length, a reply that nothing asked for and arrays nested without end each end the
// process, on a goroutine of rueidis.
const (
	maxTold     = 16 << 20 // bytes of one string that is no event: INFO, CLUSTER NODES
	maxElements = 1 << 19  // of one message: CLUSTER SLOTS with an owner of its own for each slot has about as many
	eventMargin = 1 << 20  // of an event beside its payload
)

// messageLimits are those of a connection on which events arrive. Answers and watermarks do too,
// which are as large as they are however little is held at a time.
func (c *Settings) messageLimits() resp.Limits {
	return resp.Limits{Bulk: max(c.EventBytes, maxTold) + eventMargin, Elements: maxElements}
}

// replyGuard is a connection of rueidis whose messages are checked before rueidis reads them: that
// each is one, within bounds, and that what comes without being asked for is a push. A message that
// fails the check ends the connection with an error that says what it was; whole messages before it
// are handed on.
//
// It has begun the conversation already. rueidis begins with a HELLO, which the guard answers
// itself, always as RESP3. With a server that speaks RESP2 only, it marks what arrives on
// subscriptions as the pushes that they are in RESP3. And it marks a refused PING behind the end of
// a subscription as what rueidis takes for its answer.
type replyGuard struct {
	net.Conn
	hello ServerHello

	in    *resp.Scanner // what arrives; touched by Read only, like what follows
	ready []byte        // to be handed out before anything more is read
	raw   []byte        // the beginning of a message that is to be marked, perhaps: it is not handed out before that is known
	err   error         // why nothing more is handed out

	mu sync.Mutex
	// mu guards what follows.
	begun   bool          // rueidis has said HELLO
	out     *resp.Scanner // what is written
	pending pendingReplies
}

func newReplyGuard(conn net.Conn, told ServerHello, limits resp.Limits) *replyGuard {
	return &replyGuard{
		Conn: conn, hello: told, in: resp.NewScanner(limits),
		out: resp.NewScanner(resp.Limits{Bulk: 1 << 30, Elements: 1 << 30}),
	}
}

// What rueidis begins with, and what it is told.
var (
	helloOfClient = resp.Append(nil, "HELLO", "3")
	helloOfServer = []byte("%2\r\n$7\r\nversion\r\n$1\r\n7\r\n$5\r\nproto\r\n:3\r\n")
)

// Close closes the connection at once.
func (g *replyGuard) Close() error { return withoutTLS(g.Conn).Close() }

// Write writes commands, and notes what is to be answered.
func (g *replyGuard) Write(p []byte) (int, error) {
	if answered, err := g.sent(p); err != nil || answered {
		return len(p), err
	}
	return g.Conn.Write(p)
}

// sent takes in what is about to be written. It reports whether that is the HELLO, which no server
// gets.
func (g *replyGuard) sent(p []byte) (answered bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.begun {
		g.begun = true
		if bytes.Equal(p, helloOfClient) {
			g.ready = helloOfServer
			return true, nil
		}
	}
	for len(p) > 0 {
		n, done, err := g.out.Next(p)
		if err != nil {
			return false, fmt.Errorf("redis: invalid command: %w", err)
		}
		if p = p[n:]; done {
			g.pending.sent(g.out.Message())
		}
	}
	return false, nil
}

// Read reads whole messages, and parts of those that are well so far.
func (g *replyGuard) Read(p []byte) (n int, err error) {
	switch {
	case len(g.ready) > 0:
		n = copy(p, g.ready)
		g.ready = g.ready[n:]
		return n, nil
	case g.err != nil:
		return 0, g.err
	case !g.hello.Resp3 || len(g.raw) > 0:
		return g.readRetyped(p)
	}
	n, err = g.Conn.Read(p)
	well, bad := g.check(p[:n])
	switch g.err = bad; {
	case bad != nil && well > 0:
		return well, nil
	case bad != nil:
		return 0, bad
	case well < n:
		g.raw = append(g.raw, p[well:n]...)
		if well == 0 && err == nil {
			return g.readRetyped(p)
		}
	}
	return well, err
}

// check scans what has arrived, and returns how much of it may be handed on.
func (g *replyGuard) check(p []byte) (n int, err error) {
	whole := 0
	for at := 0; at < len(p); {
		if g.in.Between() && !g.retype(p[at:]) {
			return at, nil
		}
		n, done, err := g.in.Next(p[at:])
		if at += n; done && err == nil {
			err = g.received(g.in.Message())
		}
		switch {
		case errors.Is(err, resp.ErrUnasked):
			return whole, err
		case err != nil:
			return whole, fmt.Errorf("redis: the server does not send Redis' protocol: %w", err)
		case done:
			whole = at
		}
	}
	return len(p), nil
}

// retype marks the message that begins at p as what rueidis has to take it for, if it is not. It
// reports false if what it is has not arrived yet.
func (g *replyGuard) retype(p []byte) (known bool) {
	switch {
	case p[0] == '-':
		g.mu.Lock()
		defer g.mu.Unlock()
		if next, _ := g.pending.first(); next.kind != replyUnsubscribed && next.kind != replyPong {
			return true
		}
		for _, word := range pingRefusals {
			switch n := min(len(p)-1, len(word)); {
			case string(p[1:1+n]) != word[:n]:
			case n < len(word):
				return false
			default:
				copy(p[1:], pongRefused)
			}
		}
	case !g.hello.Resp3:
		push, known := isPush(p)
		if push {
			p[0] = '>'
		}
		return known
	}
	return true
}

// received judges a message that is all there. Events are most of them, and take no lock.
func (g *replyGuard) received(m *resp.Message) error {
	if m.Type == '>' {
		switch string(m.Head()) {
		case "smessage", "message", "pmessage":
			if m.N < 3 {
				return fmt.Errorf("%w: an event of %d parts", resp.ErrProtocol, m.N)
			}
			return nil
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pending.received(m)
}

// readRetyped is Read where a message may have to be marked. It keeps the beginning of a message
// until it shows whether it has to.
func (g *replyGuard) readRetyped(p []byte) (int, error) {
	const piece = 16 << 10
	for {
		have := len(g.raw)
		g.raw = append(g.raw, make([]byte, piece)...)
		n, err := g.Conn.Read(g.raw[have:])
		g.raw = g.raw[:have+n]
		well, bad := g.check(g.raw)
		if g.err = bad; well > 0 {
			g.ready = append([]byte(nil), g.raw[:well]...)
			g.raw = append(g.raw[:0], g.raw[well:]...)
			n = copy(p, g.ready)
			g.ready = g.ready[n:]
			return n, nil
		}
		if bad != nil {
			return 0, bad
		}
		if err != nil {
			return 0, err
		}
	}
}

// isPush reports whether the message that begins in RESP2 at p is what RESP3 has a type for: an
// array whose first word is one of a few. It is not known before that has arrived.
func isPush(p []byte) (push, known bool) {
	if p[0] != '*' {
		return false, true
	}
	const longest = 48 // bytes of such a beginning, and more
	words := bytes.SplitN(p[:min(len(p), longest)], []byte("\r\n"), 4)
	switch {
	case len(words) > 1 && len(words[0]) < 3 && words[0][len(words[0])-1] < '3', // too few elements
		bytes.HasPrefix(p, []byte("*-")),
		len(words) > 1 && len(words[1]) > 0 && words[1][0] != '$', // the first is no text
		len(p) >= longest && len(words) < 4:
		return false, true
	case len(words) < 4:
		return false, false
	}
	switch string(words[2]) {
	case "smessage", "message", "pmessage":
		return true, true
	}
	return subscribing(words[2]) || unsubscribing(words[2]), true
}
