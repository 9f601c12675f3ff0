package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// oldest is the first version of Redis with sharded Pub/Sub.
const oldest = 7

// Discovery is what the servers turn out to be.
type Discovery struct {
	Cluster  bool
	Snapshot *router.Snapshot
	primary  SentinelPrimary // whom the sentinels name
}

// Discover finds the servers: those of Addrs, or the primary that the sentinels name.
func (c *Settings) Discover(ctx context.Context) (Discovery, error) {
	if c.Sentinels != nil {
		return c.findPrimary(ctx)
	}
	return c.findServers(ctx)
}

// findServers asks the start addresses until one has a cluster or a primary. While some answer and
// are replicas, as in a fail-over, it goes on asking.
func (c *Settings) findServers(ctx context.Context) (Discovery, error) {
	return c.find(ctx, c.askServers)
}

// askServers asks the start addresses one after another.
func (c *Settings) askServers(ctx context.Context) (Discovery, error) {
	var failures []error
	replicas := false
	for _, addr := range c.Addrs {
		if err := ctx.Err(); err != nil {
			return Discovery{}, fmt.Errorf("redis: open: %w", err)
		}
		found, err := discoverAt(ctx, c, addr)
		if err == nil {
			if !found.Cluster {
				found.Snapshot, err = StandaloneSnapshot(addr, c.Addrs)
			}
			return found, err
		}
		if ended := ctx.Err(); ended != nil {
			return Discovery{}, fmt.Errorf("redis: open: %w: %w", ended, err)
		}
		if errors.Is(err, conn.ErrTooOld) || errors.Is(err, conn.ErrUnsupported) || conn.IsAuthError(err) {
			return Discovery{}, err
		}
		replicas = replicas || errors.Is(err, conn.ErrReplica)
		failures = append(failures, err)
	}
	if replicas {
		return Discovery{}, fmt.Errorf("%w: %w", conn.ErrNoPrimary, errors.Join(failures...))
	}
	return Discovery{}, fmt.Errorf("%w: %w", conn.ErrUnreachable, errors.Join(failures...))
}

// findPrimary asks the sentinels until the primary is found.
func (c *Settings) findPrimary(ctx context.Context) (Discovery, error) {
	return c.find(ctx, c.askPrimary)
}

// find asks again while there is no primary, until ctx ends or FindTimeout has passed.
func (c *Settings) find(ctx context.Context, ask func(context.Context) (Discovery, error)) (Discovery, error) {
	limit := time.Now().Add(c.FindTimeout)
	again := time.NewTicker(retryOpen)
	defer again.Stop()
	for {
		found, err := ask(ctx)
		switch {
		case err == nil:
			return found, nil
		case conn.IsAuthError(err) || errors.Is(err, conn.ErrTooOld) || errors.Is(err, conn.ErrUnsupported) || errors.Is(err, conn.ErrUnreachable) || ctx.Err() != nil:
			return Discovery{}, err
		case !errors.Is(err, conn.ErrNoPrimary):
			return Discovery{}, fmt.Errorf("%w: %w", conn.ErrUnreachable, err)
		case time.Now().After(limit):
			return Discovery{}, err
		}
		select {
		case <-ctx.Done():
			return Discovery{}, fmt.Errorf("redis: open: %w: %w", ctx.Err(), err)
		case <-again.C:
		}
	}
}

// retryOpen is how often sentinels are asked that name no primary.
const retryOpen = 100 * time.Millisecond

// askPrimary asks the sentinels once, and the primary what it is.
func (c *Settings) askPrimary(ctx context.Context) (Discovery, error) {
	primary, err := c.askSentinels(ctx)
	if err != nil {
		return Discovery{}, err
	}
	found, err := discoverAt(ctx, c, primary.Addr)
	if errors.Is(err, conn.ErrReplica) {
		return Discovery{}, fmt.Errorf("%w: %w", conn.ErrNoPrimary, err) // since a moment ago
	}
	if err != nil {
		return Discovery{}, err
	}
	if found.Cluster {
		return Discovery{}, fmt.Errorf("redis: %s, which sentinels watch, is a node of a cluster: name it in Config.Addrs", primary.Addr)
	}
	found.primary = primary
	found.Snapshot, err = primary.snapshot()
	return found, err
}

// discoverAt asks the server at addr what it is.
func discoverAt(ctx context.Context, cfg *Settings, addr string) (Discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.Servers.CommandTimeout)
	defer cancel()
	client, err := cfg.Servers.Dial(ctx, addr, conn.NameOpen)
	if err != nil {
		return Discovery{}, err
	}
	defer client.Close()
	server, err := cfg.identify(ctx, client, addr)
	if err != nil {
		return Discovery{}, err
	}
	if err := cfg.requireSharded(ctx, addr); err != nil {
		return Discovery{}, err
	}
	if !server.cluster {
		return Discovery{}, server.role.Err(addr)
	}
	view, err := FetchView(ctx, client, addr, false)
	if err != nil {
		return Discovery{}, fmt.Errorf("redis: topology from %s: %w", addr, cfg.Servers.Explain(err))
	}
	snapshot, err := MergeViews([]NodeView{view})
	if err != nil {
		return Discovery{}, fmt.Errorf("redis: topology from %s: %w", addr, err)
	}
	return Discovery{Cluster: true, Snapshot: snapshot}, nil
}

// CheckVersion refuses servers without sharded Pub/Sub.
func CheckVersion(addr, version string) error {
	major, err := strconv.Atoi(version[:max(0, strings.IndexByte(version, '.'))])
	if err != nil {
		return fmt.Errorf("redis: %s says its version is %q", addr, version)
	}
	if major < oldest {
		return fmt.Errorf("%w: %s runs Redis %s, want %d.0 or later (sharded Pub/Sub)", conn.ErrTooOld, addr, version, oldest)
	}
	return nil
}
