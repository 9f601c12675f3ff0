package publisher

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/pipeline"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Dial returns a pipeline to a node, logged in. ctx bounds the dialling; what to keep logged in is
// nil if nothing is.
func Dial(ctx context.Context, c *conn.Settings, addr, purpose string) (*pipeline.Conn, *conn.AuthConn, error) {
	p, kept, err := connectPipeline(ctx, c, addr, purpose)
	if err != nil {
		return nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, c.ExplainConnect(err))
	}
	return p, kept, nil
}

func connectPipeline(ctx context.Context, c *conn.Settings, addr, purpose string) (*pipeline.Conn, *conn.AuthConn, error) {
	who, err := c.LoginFor(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	nc, err := c.Connect(ctx, addr, &net.Dialer{Timeout: c.CommandTimeout, KeepAlive: conn.NoKeepAlive}, c.TLS)
	if err != nil {
		return nil, nil, err
	}
	p := pipeline.New(nc)
	give := context.AfterFunc(ctx, func() { p.CloseWith(context.Cause(ctx)) })
	defer give()
	var commands []byte
	want := 1
	if who.Password != "" {
		commands = resp.Append(commands, "AUTH", cmp.Or(who.Username, conn.DefaultUser), who.Password)
		want++
	}
	commands = resp.Append(commands, "CLIENT", "SETNAME", c.ConnectionName(purpose))
	replies, err := p.Do(commands, want, c.CommandTimeout)
	for i := 0; i < len(replies) && err == nil; i++ {
		if err = replies[i].Err(); err != nil && i == want-1 && conn.RefusesName(err) {
			err = nil
		}
	}
	if err = who.WithoutPassword(err); err != nil {
		p.CloseWith(err)
		return nil, nil, err
	}
	if c.Credentials == nil {
		return p, nil, nil
	}
	kept := c.NewAuthConn(addr)
	kept.Reauther.Schedule(kept, who.Renew)
	return p, kept, nil
}
