package redis

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

var _ transport.Claimer = (*Transport)(nil)

// Claim takes the transport for a bus. It fails with transport.ErrInUse while another has it, and
// with transport.ErrClosed after Close.
func (t *Transport) Claim() error {
	if t.isClosed() {
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	}
	if !t.claimed.CompareAndSwap(false, true) {
		return fmt.Errorf("redis: %w", transport.ErrInUse)
	}
	t.subscriber.ForgetCounts()
	return nil
}

// Release gives the transport back, so that another bus may claim it. The subscriptions of the
// former bus, and the numbers of its events, are forgotten. No Serve may run.
func (t *Transport) Release() {
	t.subscriber.RemoveAll()
	t.publisher.Forget()
	t.claimed.Store(false)
}
