package redis

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/shardbus/shardbus/transport/redis/internal/pipeline"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// dialPipe returns a pipe to a node, logged in. ctx bounds the dialling; what to keep logged in is nil if nothing is.
func (c *Config) dialPipeline(ctx context.Context, addr, name string) (*pipeline.Conn, *authConn, error) {
	p, kept, err := c.connectPipeline(ctx, addr, name)
	if err != nil {
		return nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, c.explainConnect(err))
	}
	return p, kept, nil
}

func (c *Config) connectPipeline(ctx context.Context, addr, name string) (*pipeline.Conn, *authConn, error) {
	who, err := c.credentialsFor(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.connect(ctx, addr, &net.Dialer{Timeout: c.CommandTimeout, KeepAlive: noKeepAlive}, c.TLS)
	if err != nil {
		return nil, nil, err
	}
	p := pipeline.New(conn)
	give := context.AfterFunc(ctx, func() { p.CloseWith(context.Cause(ctx)) })
	defer give()
	var commands []byte
	want := 1
	if who.Password != "" {
		commands = resp.Append(commands, "AUTH", cmp.Or(who.Username, defaultUser), who.Password)
		want++
	}
	commands = resp.Append(commands, "CLIENT", "SETNAME", name)
	replies, err := p.Do(commands, want, c.CommandTimeout)
	for i := 0; i < len(replies) && err == nil; i++ {
		if err = replies[i].Err(); err != nil && i == want-1 && refusesName(err) {
			err = nil
		}
	}
	if err = who.withoutPassword(err); err != nil {
		p.CloseWith(err)
		return nil, nil, err
	}
	if c.Credentials == nil {
		return p, nil, nil
	}
	kept := c.newAuthConn(addr)
	kept.reauther.schedule(kept, who.Renew)
	return p, kept, nil
}

// refusesName reports whether a server does not let us give the connection a name, which it may.
func refusesName(err error) bool {
	text, _ := replyText(err)
	return strings.HasPrefix(text, "NOPERM") || strings.HasPrefix(text, "ERR unknown")
}
