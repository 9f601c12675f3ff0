package redis

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"go.uber.org/zap"
)

// server is what a server says of itself when it is met.
type server struct {
	version string
	cluster bool
	role    conn.ServerRole
}

// askServer asks the server at addr what it is, and refuses one that is of no use. Where INFO is not permitted, what it said
// to HELLO has to do.
func (c *Config) askServer(ctx context.Context, client conn.Client, addr string) (server, error) {
	told := client.Hello()
	text, err := conn.TextOf(client.Do(ctx, client.B().Info().Section("server", "replication", "cluster").Build()))
	switch {
	case err == nil:
	case conn.Classify(err) == conn.ReplyDenied:
		c.Logger.Warn("redis: INFO is not allowed; the server's other answers decide what it is", zap.String("addr", addr), zap.Error(err))
	default:
		return server{}, fmt.Errorf("redis: INFO on %s: %w", addr, c.servers.Explain(err))
	}
	info := conn.InfoFields(text)
	if isSentinel(info, told) {
		return server{}, fmt.Errorf("redis: %s is a Sentinel: name it in Config.Sentinel.Addrs, or as redis+sentinel://%s/NAME", addr, addr)
	}
	s := server{version: cmp.Or(info["redis_version"], told.Version), role: conn.RoleOfINFO([]string{text})}
	if s.version != "" {
		if err := checkVersion(addr, s.version); err != nil {
			return server{}, err
		}
	}
	if !s.role.Known {
		if s.role, err = conn.NewRoleQuery(client).Again(ctx); err != nil {
			return server{}, fmt.Errorf("redis: role of %s: %w", addr, c.servers.Explain(err))
		}
	}
	switch {
	case info["cluster_enabled"] != "":
		s.cluster = info["cluster_enabled"] == "1"
	case told.Mode != "":
		s.cluster = told.Mode == "cluster"
	default: // it says nothing: only a node of a cluster has slots
		s.cluster = client.Do(ctx, client.B().ClusterSlots().Build()).Error() == nil
	}
	return s, nil
}

// isSentinel reports whether a server says that it is one. Redis and Valkey have different words for it.
func isSentinel(info map[string]string, told conn.ServerHello) bool {
	return info["redis_mode"] == "sentinel" || info["server_mode"] == "sentinel" || told.Mode == "sentinel"
}

// sharded are the commands that nothing works without.
var sharded = []string{"SPUBLISH", "SSUBSCRIBE"}

// askSharded asks whether a server knows the commands of sharded Pub/Sub. Without arguments they do nothing, and who may not
// use them is told so when it matters.
func (c *Config) askSharded(ctx context.Context, addr string) error {
	p, _, err := dialPipeline(ctx, c.servers, addr, conn.NameOpen)
	if err != nil {
		return err
	}
	defer p.CloseWith(errEnded)
	give := context.AfterFunc(ctx, func() { p.CloseWith(context.Cause(ctx)) })
	defer give()
	var commands []byte
	for _, command := range sharded {
		commands = resp.Append(commands, command)
	}
	replies, err := p.Do(commands, len(sharded), c.CommandTimeout)
	if err != nil {
		return fmt.Errorf("redis: ask %s for sharded Pub/Sub: %w", addr, c.servers.Explain(err))
	}
	for i, reply := range replies {
		if failure := reply.Err(); unknownCommand(failure) {
			return fmt.Errorf("%w: %s does not know %s (a server before 7.0, a proxy, or renamed): %w", ErrUnsupported, addr, sharded[i], failure)
		}
	}
	return nil
}

// unknownCommand reports whether an error says that the server has no such command.
func unknownCommand(err error) bool {
	reply, ok := conn.ReplyText(err)
	if !ok {
		return false
	}
	lower := strings.ToLower(reply)
	return strings.Contains(lower, "unknown command") || strings.Contains(lower, "unsupported command") || strings.Contains(lower, "not supported")
}
