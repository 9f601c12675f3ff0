package redis

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// Reauthenticate has every open connection ask Config.Credentials and log in again, now; what is subscribed stays.
// Call it when a password or user is about to be replaced: when it returns nil, what was valid before may be removed.
// An error names each connection that could not; it goes on as who it was. Connections that are made later ask
// Config.Credentials anyway.
func (t *Transport) Reauthenticate(ctx context.Context) error {
	if t.isClosed() {
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	}
	return t.cfg.servers.Reauther.RenewAll(ctx)
}
