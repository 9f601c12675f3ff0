package redis

import (
	"context"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber"
)

// subscriberSettings are those of the receiving side.
func (t *Transport) subscriberSettings() subscriber.Settings {
	return subscriber.Settings{
		Conn: t.cfg.servers, Classes: t.classes, Log: t.log, Cluster: t.topology, Sender: t.publisher.Control(), Answerer: t.publisher.Answerer(),
		Sink: &t.current, Closed: t.closed, ConnectFailed: t.onConnectFailed,
		Standby: t.cfg.Standby, ReceiveBytes: t.cfg.ReceiveBytes, MaxPayload: t.cfg.MaxPayload,
		ProbeInterval: t.cfg.ProbeInterval, ProbeTimeout: t.cfg.ProbeTimeout,
		Repair: subscriber.RepairSettings{
			Off: t.cfg.Repair.Off, Timeout: t.cfg.Repair.Timeout, HeldEvents: t.cfg.Repair.HeldEvents,
			HeldBytes: t.cfg.Repair.HeldBytes, HoldBytes: t.cfg.Repair.HoldBytes,
		},
	}
}

// onPoll is called whenever the nodes are asked for the topology.
func (t *Transport) onPoll(now time.Time) {
	t.publisher.ExpireRedirects(now)
	t.subscriber.ExpireRedirects(now)
}

// onConnectFailed is what a child does that could not connect. A server that refuses who we are is left alone for a
// while, and says nothing about the topology.
func (t *Transport) onConnectFailed(ctx context.Context, err error) {
	if !conn.IsAuthError(err) {
		t.topology.Suspect()
		return
	}
	cool := time.NewTimer(conn.RefusedDelay())
	defer cool.Stop()
	select {
	case <-ctx.Done():
	case <-cool.C:
	}
}
