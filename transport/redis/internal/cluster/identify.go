package cluster

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// server is what a server says of itself when it is met.
type server struct {
	version string
	cluster bool
	role    conn.ServerRole
}

// identify asks the server at addr what it is, and refuses one that is of no use. Where INFO is not
// permitted, what it said to HELLO has to do.
func (c *Settings) identify(ctx context.Context, client conn.Client, addr string) (server, error) {
	told := client.Hello()
	text, err := conn.TextOf(client.Do(ctx, client.B().Info().Section("server", "replication", "cluster").Build()))
	switch {
	case err == nil:
	case conn.Classify(err) == conn.ReplyDenied:
		c.Logger.Warn("redis: INFO is not allowed; the server's other answers decide what it is", zap.String("addr", addr), zap.Error(err))
	default:
		return server{}, fmt.Errorf("redis: INFO on %s: %w", addr, c.Servers.Explain(err))
	}
	info := conn.InfoFields(text)
	if IsSentinel(info, told) {
		return server{}, fmt.Errorf("redis: %s is a Sentinel: name it in Config.Sentinel.Addrs, or as redis+sentinel://%s/NAME", addr, addr)
	}
	s := server{version: cmp.Or(info["redis_version"], told.Version), role: conn.RoleOfINFO([]string{text})}
	if s.version != "" {
		if err := CheckVersion(addr, s.version); err != nil {
			return server{}, err
		}
	}
	if !s.role.Known {
		if s.role, err = conn.NewRoleQuery(client).Again(ctx); err != nil {
			return server{}, fmt.Errorf("redis: role of %s: %w", addr, c.Servers.Explain(err))
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

// IsSentinel reports whether a server says that it is one. Redis and Valkey have different words
// for it.
func IsSentinel(info map[string]string, told conn.ServerHello) bool {
	return info["redis_mode"] == "sentinel" || info["server_mode"] == "sentinel" || told.Mode == "sentinel"
}

// Sharded are the commands that nothing works without.
var Sharded = []string{"SPUBLISH", "SSUBSCRIBE"}

// requireSharded asks whether a server knows the commands of sharded Pub/Sub. Without arguments
// they do nothing, and who may not use them is told so when it matters.
func (c *Settings) requireSharded(ctx context.Context, addr string) error {
	failures, err := c.Servers.Exchange(ctx, addr, conn.NameOpen, Sharded...)
	if err != nil {
		return fmt.Errorf("redis: ask %s for sharded Pub/Sub: %w", addr, c.Servers.Explain(err))
	}
	for i, failure := range failures {
		if UnknownCommand(failure) {
			return fmt.Errorf("%w: %s does not know %s (a server before 7.0, a proxy, or renamed): %w", conn.ErrUnsupported, addr, Sharded[i], failure)
		}
	}
	return nil
}

// UnknownCommand reports whether an error says that the server has no such command.
func UnknownCommand(err error) bool {
	reply, ok := conn.ReplyText(err)
	if !ok {
		return false
	}
	lower := strings.ToLower(reply)
	return strings.Contains(lower, "unknown command") || strings.Contains(lower, "unsupported command") || strings.Contains(lower, "not supported")
}
