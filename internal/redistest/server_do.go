package redistest

import (
	"context"
	"fmt"
	"strings"
)

// Do sends one command on a connection of its own and returns the reply:
// string, int64, nil, or []any of these. It runs as an administrator whatever
// became of the default user. An error reply is a [ReplyError] (errors.As). It
// takes [CommandTimeout] at most, so a stopped server yields an error.
func (s *Server) Do(ctx context.Context, args ...string) (any, error) {
	replies, err := s.Pipeline(ctx, args)
	if err != nil {
		return nil, err
	}
	if e, ok := replies[0].(ReplyError); ok {
		return nil, fmt.Errorf("redistest: %s on %s: %w", strings.Join(args[:1], ""), s.Addr(), e)
	}
	return replies[0], nil
}

// Pipeline sends the commands at once on one connection of their own and
// returns a reply for each, in order; an error reply is a [ReplyError] among
// them. Each reply takes [CommandTimeout] at most. Else as [Server.Do].
func (s *Server) Pipeline(ctx context.Context, commands ...[]string) ([]any, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	replies, err := c.pipeline(ctx, commands)
	if err != nil {
		return nil, fmt.Errorf("redistest: ask %s: %w", s.Addr(), err)
	}
	return replies, nil
}

// dial connects as the administrator.
func (s *Server) dial(ctx context.Context) (*conn, error) {
	c, err := dial(ctx, s.Addr(), s.TLSConfig(), adminUser, adminPassword())
	if err != nil {
		return nil, fmt.Errorf("redistest: connect to %s: %w", s.Addr(), err)
	}
	return c, nil
}

// text is Do for a command whose reply is a string.
func (s *Server) text(ctx context.Context, args ...string) (string, error) {
	reply, err := s.Do(ctx, args...)
	if err != nil {
		return "", err
	}
	return asText(reply)
}

// asText returns a string reply, or the error the reply is.
func asText(reply any) (string, error) {
	switch r := reply.(type) {
	case string:
		return r, nil
	case ReplyError:
		return "", r
	default:
		return "", fmt.Errorf("redistest: a reply of type %T instead of a string", reply)
	}
}

// field returns the value of "name:value" in the lines of INFO and its likes;
// empty when there is none.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), name+":"); ok {
			return v
		}
	}
	return ""
}

// KillClients cuts off the server's clients of one type (CLIENT KILL TYPE:
// "normal", "pubsub", "replica" or "master") and returns how many there were.
func (s *Server) KillClients(ctx context.Context, kind string) (int, error) {
	reply, err := s.Do(ctx, "CLIENT", "KILL", "TYPE", kind)
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("redistest: CLIENT KILL replied %v", reply)
	}
	return int(n), nil
}
