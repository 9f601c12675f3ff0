package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// subscriberSettings are those of the receiving side.
func (t *Transport) subscriberSettings() Settings {
	return Settings{
		Conn: t.cfg.servers, Log: t.log, Cluster: clusterView{t.topology}, Sender: &t.controlSenders, Answerer: t.sender,
		Sink: &t.current, Closed: t.closed, ConnectFailed: t.onConnectFailed,
		Standby: t.cfg.Standby, ReceiveBytes: t.cfg.ReceiveBytes, MaxPayload: t.cfg.MaxPayload,
		ProbeInterval: t.cfg.ProbeInterval, ProbeTimeout: t.cfg.ProbeTimeout,
		Repair: RepairSettings{
			Off: t.cfg.Repair.Off, Timeout: t.cfg.Repair.Timeout, HeldEvents: t.cfg.Repair.HeldEvents,
			HeldBytes: t.cfg.Repair.HeldBytes, HoldBytes: t.cfg.Repair.HoldBytes,
		},
	}
}

// clusterView is the topology as the receiving side sees it.
type clusterView struct{ *topology }

// Snapshot returns the topology as it is known.
func (v clusterView) Snapshot() *router.Snapshot { return v.snapshot.Load() }

// Owner is topology.owner.
func (v clusterView) Owner(slot int) string { return v.owner(slot) }

// Shard returns the shard of a node.
func (v clusterView) Shard(addr string) (shard int, known bool) { return v.Snapshot().NodeShard(addr) }

// Suspect is topology.suspect.
func (v clusterView) Suspect() { v.suspect() }

// IsPrimary is topology.isPrimary.
func (v clusterView) IsPrimary(addr string) bool { return v.isPrimary(addr) }

// Misdirection is topology.misdirection.
func (v clusterView) Misdirection(err error, addr string) string { return v.misdirection(err, addr) }

// ExplainMoved is topology.explainMoved.
func (v clusterView) ExplainMoved(err error, addr string) error { return v.explainMoved(err, addr) }

// Replicas returns the addresses of the replicas, by their primary's; nil without Config.Standby.
func (v clusterView) Replicas() map[string][]string {
	if !v.cfg.Standby {
		return nil
	}
	found := make(map[string][]string)
	for _, shard := range v.Snapshot().Shards() {
		for _, r := range shard.Replicas {
			found[shard.Primary.Addr] = append(found[shard.Primary.Addr], r.Addr)
		}
	}
	return found
}

// RoleOf asks a server for its role where neither a cluster nor sentinels say who the primary is.
func (v clusterView) RoleOf(ctx context.Context, addr string, client rueidis.CoreClient) (*conn.RoleQuery, error) {
	if !v.isStandalone() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.cfg.CommandTimeout)
	defer cancel()
	query := conn.NewRoleQuery(client)
	role, err := query.Identify(ctx)
	if err == nil {
		return query, role.Err(addr)
	}
	return nil, fmt.Errorf("redis: role of %s: %w", addr, v.cfg.servers.Explain(err))
}

// WatchRole is topology.watchRole.
func (v clusterView) WatchRole(ctx context.Context, addr string, query *conn.RoleQuery, resp3 bool) error {
	return v.watchRole(ctx, addr, query, resp3)
}

// onPoll is called whenever the nodes are asked for the topology.
func (t *Transport) onPoll(now time.Time) {
	t.expireRedirects(now)
	t.subscriber.ExpireRedirects(now)
	for _, own := range t.dedicated {
		own.subscriber.ExpireRedirects(now)
	}
}

// onConnectFailed is what a child does that could not connect. A server that refuses who we are is left alone for a
// while, and says nothing about the topology.
func (t *Transport) onConnectFailed(ctx context.Context, err error) {
	if !conn.IsAuthError(err) {
		t.topology.suspect()
		return
	}
	cool := time.NewTimer(conn.RefusedDelay())
	defer cool.Stop()
	select {
	case <-ctx.Done():
	case <-cool.C:
	}
}
