package redis

import (
	"context"
	"errors"
	"fmt"
)

// errStandbyNowhere is why Open refuses Config.Standby. Without a cluster what is published at a
// replica reaches only the subscribers that listen there, and sentinels may make any other replica
// the primary.
var errStandbyNowhere = errors.New("Config.Standby needs a cluster: without one, what is published at a replica reaches its own subscribers only")

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
	found, err := cfg.topology.Discover(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Standby && !found.Cluster {
		return nil, fmt.Errorf("redis: open: %w", errStandbyNowhere)
	}
	return newTransport(cfg, found), nil
}
