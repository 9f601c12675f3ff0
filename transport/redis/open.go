package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
)

// oldest is the first version of Redis with sharded Pub/Sub.
const oldest = 7

// Open connects to the servers, finds out whether they are a cluster, and returns the transport for one bus. It fails
// when ctx ends, when no start address answers (ErrUnreachable; each is named), when the login is refused (ErrAuth),
// and when a server is older than 7.0 (ErrTooOld).
//
// Nothing is left running: Serve does the work. Close the Transport when it will not be served any more.
func Open(ctx context.Context, config Config) (*Transport, error) {
	cfg, err := config.resolved()
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, addr := range cfg.Addrs {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("redis: open: %w", err)
		}
		found, err := discover(ctx, &cfg, addr)
		if err == nil {
			return newTransport(cfg, found), nil
		}
		if errors.Is(err, ErrTooOld) || errors.Is(err, ErrAuth) || errors.Is(err, ErrPermission) || ctx.Err() != nil {
			return nil, err
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(failures...))
}

// discovery is what Open finds.
type discovery struct {
	cluster  bool
	snapshot *router.Snapshot
}

// discover asks the server at addr what it is.
func discover(ctx context.Context, cfg *Config, addr string) (discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.CommandTimeout)
	defer cancel()
	client, err := cfg.dial(addr, nameOpen)
	if err != nil {
		return discovery{}, err
	}
	defer client.Close()
	info, err := client.Do(ctx, client.B().Info().Section("server").Section("cluster").Build()).ToString()
	if err != nil {
		return discovery{}, fmt.Errorf("redis: INFO on %s: %w", addr, explain(err))
	}
	if err := checkVersion(addr, field(info, "redis_version")); err != nil {
		return discovery{}, err
	}
	if field(info, "redis_mode") == "sentinel" {
		return discovery{}, fmt.Errorf("redis: %s is a Sentinel: name the addresses of the servers it watches", addr)
	}
	if field(info, "cluster_enabled") != "1" {
		snapshot, err := standalone(addr)
		return discovery{snapshot: snapshot}, err
	}
	view, err := askView(ctx, client, addr)
	if err != nil {
		return discovery{}, fmt.Errorf("redis: topology from %s: %w", addr, explain(err))
	}
	snapshot, err := settleClaims([]nodeView{view})
	if err != nil {
		return discovery{}, fmt.Errorf("redis: topology from %s: %w", addr, err)
	}
	return discovery{cluster: true, snapshot: snapshot}, nil
}

// standalone is the topology of a server that is all there is.
func standalone(addr string) (*router.Snapshot, error) {
	return router.NewSnapshot([]router.Shard{{
		Primary: router.Node{Addr: addr},
		Slots:   []router.SlotRange{{From: 0, To: router.Slots - 1}},
	}})
}

// checkVersion refuses servers without sharded Pub/Sub.
func checkVersion(addr, version string) error {
	major, err := strconv.Atoi(version[:max(0, strings.IndexByte(version, '.'))])
	if err != nil {
		return fmt.Errorf("redis: %s says its version is %q", addr, version)
	}
	if major < oldest {
		return fmt.Errorf("%w: %s runs Redis %s, want %d.0 or later (sharded Pub/Sub)", ErrTooOld, addr, version, oldest)
	}
	return nil
}

// field returns the value of "name:value" in the lines of INFO; empty when there is none.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// askView asks one node for its view of the cluster. Both commands are one pipeline, so they tell of one moment.
func askView(ctx context.Context, client rueidis.Client, addr string) (nodeView, error) {
	replies := client.DoMulti(ctx, client.B().ClusterSlots().Build(), client.B().ClusterNodes().Build())
	slots, err := replies[0].ToArray()
	if err != nil {
		return nodeView{}, err
	}
	claims, err := parseSlots(slots, addr)
	if err != nil {
		return nodeView{}, err
	}
	// Without epochs (a server that has only CLUSTER SLOTS) all views weigh the same.
	if nodes, err := replies[1].ToString(); err == nil {
		addEpochs(claims, nodes)
	}
	return nodeView{from: addr, claims: claims}, nil
}
