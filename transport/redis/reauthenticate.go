package redis

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// Reauthenticate makes every open connection call Config.Credentials and log in again, now;
// subscriptions stay. Call it when a password or user is about to be replaced: when it returns nil,
// the former one may be removed. An error names each connection that could not; it keeps its user.
// Connections that are made later call Config.Credentials anyway.
func (t *Transport) Reauthenticate(ctx context.Context) error {
	if t.isClosed() {
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	}
	return t.cfg.servers.Reauther.RenewAll(ctx)
}
