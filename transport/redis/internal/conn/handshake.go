package conn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// ServerHello is what a server says of itself in answer to HELLO. It needs no permission.
type ServerHello struct {
	Resp3 bool // it speaks RESP3; else RESP2 only

	// Empty where it does not say: with RESP2 only.
	Version, Mode, role string
}

// noRESP3 reports whether an answer to HELLO says that the server speaks RESP2 only: it is one, a
// proxy, or has no such command under that name.
func noRESP3(reply string) bool {
	lower := strings.ToLower(reply)
	return strings.HasPrefix(reply, "NOPROTO") || strings.HasPrefix(lower, "err unknown command") || strings.HasPrefix(lower, "err unsupported") ||
		strings.Contains(lower, "unknown command")
}

// hidesHello reports whether an answer to HELLO with a login is that of a server that has no such
// command, and tells nobody what it has before the login, as Valkey 9 does. A login that is wrong
// is answered with WRONGPASS, to AUTH too.
func hidesHello(reply string, who Login) bool {
	return who.Password != "" && strings.HasPrefix(reply, "NOAUTH")
}

// handshake logs a new connection in, names it, and asks for RESP3. It takes Config.CommandTimeout
// at most, or until ctx ends.
func (c *Settings) handshake(ctx context.Context, conn net.Conn, who Login, name string) (ServerHello, error) {
	if err := conn.SetDeadline(time.Now().Add(c.CommandTimeout)); err != nil {
		return ServerHello{}, err
	}
	release := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only when the connection has
	told, err := negotiate(conn, who, name)
	switch {
	case !release():
		return ServerHello{}, cmp.Or(context.Cause(ctx), err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ServerHello{}, context.DeadlineExceeded
	case err != nil:
		return ServerHello{}, err
	}
	return told, conn.SetDeadline(time.Time{})
}

func negotiate(conn net.Conn, who Login, name string) (ServerHello, error) {
	hello := []string{"HELLO", "3"}
	if who.Password != "" {
		hello = append(hello, "AUTH", cmp.Or(who.Username, DefaultUser), who.Password)
	}
	replies, err := roundTrip(conn, resp.Append(nil, append(hello, "SETNAME", name)...), 1)
	if err != nil {
		return ServerHello{}, err
	}
	if failure := failureOf(replies[0]); failure == nil {
		return helloOf(resp.Words(replies[0])), nil
	} else if refused := string(*failure); !noRESP3(refused) && !hidesHello(refused, who) {
		return ServerHello{}, who.WithoutPassword(*failure)
	}
	return ServerHello{}, logIn(conn, who, name)
}

// logIn logs a connection in and names it, without asking what the server is.
func logIn(conn net.Conn, who Login, name string) error {
	var commands []byte
	want := 1
	if who.Password != "" {
		login := []string{"AUTH", who.Password}
		if who.Username != "" {
			login = []string{"AUTH", who.Username, who.Password}
		}
		commands = resp.Append(commands, login...)
		want++
	}
	commands = resp.Append(commands, "CLIENT", "SETNAME", name)
	replies, err := roundTrip(conn, commands, want)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		if failure := failureOf(reply); failure != nil && (i < want-1 || !RefusesName(*failure)) {
			return who.WithoutPassword(*failure)
		}
	}
	return nil
}

// Exchange sends commands without arguments on a connection of its own, and returns what the server
// says is wrong with each; nil where nothing is. It takes CommandTimeout at most for the answers.
func (c *Settings) Exchange(ctx context.Context, addr, purpose string, commands ...string) (failures []error, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.dialTimeout()+c.CommandTimeout)
	defer cancel()
	who, err := c.LoginFor(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	made, err := c.Connect(ctx, addr, &net.Dialer{Timeout: c.CommandTimeout, KeepAlive: NoKeepAlive}, c.TLS)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", c.ExplainConnect(err))
	}
	defer func() { _ = withoutTLS(made).Close() }() // nothing is under way any more
	if err := made.SetDeadline(time.Now().Add(c.CommandTimeout)); err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = made.SetDeadline(time.Unix(1, 0)) }) // fails only when the connection has
	defer release()
	if err := logIn(made, who, c.ConnectionName(purpose)); err != nil {
		return nil, fmt.Errorf("connect: %w", c.ExplainConnect(err))
	}
	if err := made.SetDeadline(time.Now().Add(c.CommandTimeout)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil { // it may have ended before the second deadline was set
		return nil, context.Cause(ctx)
	}
	var all []byte
	for _, command := range commands {
		all = resp.Append(all, command)
	}
	replies, err := roundTrip(made, all, len(commands))
	if err != nil {
		return nil, err
	}
	failures = make([]error, len(replies))
	for i, reply := range replies {
		if failure := failureOf(reply); failure != nil {
			failures[i] = *failure
		}
	}
	return failures, nil
}

// helloOf reads the answer to HELLO.
func helloOf(words []string) ServerHello {
	told := ServerHello{}
	for i := 0; i+1 < len(words); i += 2 {
		switch value := words[i+1]; words[i] {
		case "proto":
			told.Resp3 = value == "3"
		case "version":
			told.Version = value
		case "mode":
			told.Mode = value
		case "role":
			told.role = value
		}
	}
	return told
}

// failureOf returns what is wrong with a reply as it arrived; nil if nothing is.
func failureOf(reply []byte) *resp.Error {
	if reply[0] != '-' {
		return nil
	}
	failure := resp.Error(strings.TrimSpace(string(reply[1:])))
	return &failure
}

// roundTrip writes commands and reads so many replies, and nothing beyond: the connection says
// nothing unasked yet.
func roundTrip(conn net.Conn, commands []byte, want int) (replies [][]byte, err error) {
	if _, err := conn.Write(commands); err != nil {
		return nil, err
	}
	const enough = 64 << 10
	scanner := resp.NewScanner(resp.Limits{Bulk: enough, Elements: 1 << 10})
	buf := make([]byte, 0, 1<<10)
	at, begin := 0, 0 // what of buf was scanned, and where the reply begins that is being read
	for len(replies) < want {
		if len(buf) == enough {
			return nil, fmt.Errorf("redis: %w: %d bytes in answer to a login", resp.ErrProtocol, len(buf))
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for at < len(buf) && len(replies) < want {
			took, done, err := scanner.Next(buf[at:])
			if err != nil {
				return nil, fmt.Errorf("redis: the server does not send Redis' protocol: %w", err)
			}
			if at += took; done {
				replies, begin = append(replies, buf[begin:at:at]), at
			}
		}
		if err != nil && len(replies) < want {
			return nil, endOf(err)
		}
	}
	if at < len(buf) {
		return nil, resp.ErrUnasked
	}
	return replies, nil
}

// endOf is what an error of reading says.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the server closed the connection: %w", err)
	}
	return err
}

// RefusesName reports whether a server does not let us give the connection a name, which it may.
func RefusesName(err error) bool {
	text, _ := ReplyText(err)
	return strings.HasPrefix(text, "NOPERM") || strings.HasPrefix(text, "ERR unknown")
}
