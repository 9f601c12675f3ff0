package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// oldest is the first version of Redis with sharded Pub/Sub.
const oldest = 7

// Open connects to the servers, finds out whether they are a cluster, and returns the transport for
// one bus. It fails when ctx ends, when no start address answers ([ErrUnreachable]; each is named),
// when the login is refused ([ErrAuth]), when a server is older than 7.0 ([ErrTooOld]), and when it
// does not know SPUBLISH or SSUBSCRIBE ([ErrUnsupported]). While sentinels answer that name no
// primary, or the standalone servers that answer are replicas, as in a fail-over, it goes on asking
// until ctx ends or Config.PublishTimeout has passed ([ErrNoPrimary]).
//
// Nothing is left running: Serve does the work. Close the Transport when it will not be served any
// more.
func Open(ctx context.Context, config Config) (*Transport, error) {
	cfg, err := config.resolved()
	if err != nil {
		return nil, err
	}
	find := cfg.findServers
	if cfg.Sentinel.used() {
		find = cfg.findPrimary
	}
	found, err := find(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Standby && !found.cluster {
		return nil, fmt.Errorf("redis: open: %w", errStandbyNowhere)
	}
	return newTransport(cfg, found), nil
}

// discovery is what Open finds.
type discovery struct {
	cluster  bool
	snapshot *router.Snapshot
	primary  sentinelPrimary // whom the sentinels name
}

// findServers asks the start addresses until one has a cluster or a primary. While some answer and
// are replicas, as in a fail-over, it goes on asking.
func (c *Config) findServers(ctx context.Context) (discovery, error) {
	return c.find(ctx, c.askServers)
}

// askServers asks the start addresses one after another.
func (c *Config) askServers(ctx context.Context) (discovery, error) {
	var failures []error
	replicas := false
	for _, addr := range c.Addrs {
		if err := ctx.Err(); err != nil {
			return discovery{}, fmt.Errorf("redis: open: %w", err)
		}
		found, err := discover(ctx, c, addr)
		if err == nil {
			if !found.cluster {
				found.snapshot, err = standaloneSnapshot(addr, c.Addrs)
			}
			return found, err
		}
		if ended := ctx.Err(); ended != nil {
			return discovery{}, fmt.Errorf("redis: open: %w: %w", ended, err)
		}
		if errors.Is(err, ErrTooOld) || errors.Is(err, ErrUnsupported) || conn.IsAuthError(err) {
			return discovery{}, err
		}
		replicas = replicas || errors.Is(err, conn.ErrReplica)
		failures = append(failures, err)
	}
	if replicas {
		return discovery{}, fmt.Errorf("%w: %w", ErrNoPrimary, errors.Join(failures...))
	}
	return discovery{}, fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(failures...))
}

// findPrimary asks the sentinels until the primary is found.
func (c *Config) findPrimary(ctx context.Context) (discovery, error) {
	return c.find(ctx, c.askPrimary)
}

// find asks again while there is no primary, until ctx ends or Config.PublishTimeout has passed.
func (c *Config) find(ctx context.Context, ask func(context.Context) (discovery, error)) (discovery, error) {
	limit := time.Now().Add(c.PublishTimeout)
	again := time.NewTicker(retryOpen)
	defer again.Stop()
	for {
		found, err := ask(ctx)
		switch {
		case err == nil:
			return found, nil
		case conn.IsAuthError(err) || errors.Is(err, ErrTooOld) || errors.Is(err, ErrUnsupported) || errors.Is(err, ErrUnreachable) || ctx.Err() != nil:
			return discovery{}, err
		case !errors.Is(err, ErrNoPrimary):
			return discovery{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
		case time.Now().After(limit):
			return discovery{}, err
		}
		select {
		case <-ctx.Done():
			return discovery{}, fmt.Errorf("redis: open: %w: %w", ctx.Err(), err)
		case <-again.C:
		}
	}
}

// retryOpen is how often sentinels are asked that name no primary.
const retryOpen = 100 * time.Millisecond

// askPrimary asks the sentinels once, and the primary what it is.
func (c *Config) askPrimary(ctx context.Context) (discovery, error) {
	primary, err := c.askSentinels(ctx)
	if err != nil {
		return discovery{}, err
	}
	found, err := discover(ctx, c, primary.addr)
	if errors.Is(err, conn.ErrReplica) {
		return discovery{}, fmt.Errorf("%w: %w", ErrNoPrimary, err) // since a moment ago
	}
	if err != nil {
		return discovery{}, err
	}
	if found.cluster {
		return discovery{}, fmt.Errorf("redis: %s, which sentinels watch, is a node of a cluster: name it in Config.Addrs", primary.addr)
	}
	found.primary = primary
	found.snapshot, err = primary.snapshot()
	return found, err
}

// discover asks the server at addr what it is.
func discover(ctx context.Context, cfg *Config, addr string) (discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.CommandTimeout)
	defer cancel()
	client, err := cfg.servers.Dial(ctx, addr, conn.NameOpen)
	if err != nil {
		return discovery{}, err
	}
	defer client.Close()
	server, err := cfg.askServer(ctx, client, addr)
	if err != nil {
		return discovery{}, err
	}
	if err := cfg.askSharded(ctx, addr); err != nil {
		return discovery{}, err
	}
	if !server.cluster {
		return discovery{}, server.role.Err(addr)
	}
	view, err := askView(ctx, client, addr, false)
	if err != nil {
		return discovery{}, fmt.Errorf("redis: topology from %s: %w", addr, cfg.servers.Explain(err))
	}
	snapshot, err := mergeViews([]nodeView{view})
	if err != nil {
		return discovery{}, fmt.Errorf("redis: topology from %s: %w", addr, err)
	}
	return discovery{cluster: true, snapshot: snapshot}, nil
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

// askView asks one node for its view of the cluster. Both commands are one pipeline, so they tell
// of one moment. health has it asked too whether it is cut off.
func askView(ctx context.Context, client rueidis.CoreClient, addr string, health bool) (nodeView, error) {
	commands := []rueidis.Completed{client.B().ClusterSlots().Build(), client.B().ClusterNodes().Build()}
	if health {
		commands = append(commands, client.B().ClusterInfo().Build())
	}
	replies := client.DoMulti(ctx, commands...)
	slots, err := replies[0].ToArray()
	if err != nil {
		return nodeView{}, err
	}
	claims, err := parseSlotOwners(slots, addr)
	if err != nil {
		return nodeView{}, err
	}
	// Without epochs (a server that has only CLUSTER SLOTS) all views weigh the same.
	if nodes, err := conn.TextOf(replies[1]); err == nil {
		members := parseClusterNodes(nodes)
		addEpochs(claims, members)
		addReplicas(claims, members, addr)
	}
	view := nodeView{addr: addr, owners: claims}
	if health {
		if info, err := conn.TextOf(replies[2]); err == nil {
			view.failing = conn.InfoField(info, "cluster_state") == "fail"
		}
	}
	return view, nil
}
