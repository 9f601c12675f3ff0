package redis

import (
	"context"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/notify"
)

var _ transport.LogProvider = (*Transport)(nil)

// Log is the log of durable topics on the same servers: Redis Streams. It is always the same one. A
// bus with this transport and no Config.Log of its own uses it. Close of the transport closes it.
func (t *Transport) Log() transport.Log { return t.streams }

// logPrefix begins the key of the list of topics.
const logPrefix = "shardbus"

// logPoll is how often partitions that are consumed are looked at, at most: notices that were lost
// cost that much. Leases that end are noticed within a tenth of a lease.
const logPoll = time.Second

func (t *Transport) newLog() *streamlog.Log {
	return streamlog.New(streamlog.Settings{
		Prefix: logPrefix, Compact: t.cfg.compact, MaxPayload: t.cfg.MaxPayload, Lease: t.cfg.Lease, Poll: min(logPoll, t.cfg.Lease/10), Logger: t.log,
		Watch: t.serveTopology,
	}, nodes.New(t.cfg.servers, t.topology), notify.Settings{Servers: t.cfg.servers, Owner: t.topology.Owner, Suspect: t.topology.Suspect})
}

// serveTopology watches the servers, unless Serve of the transport or of the log does so already;
// then it waits, and goes on when that ends.
func (t *Transport) serveTopology(ctx context.Context) error {
	select {
	case t.watching <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-t.watching }()
	return t.topology.Serve(ctx)
}
