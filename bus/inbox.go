package bus

import (
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/ring"
	"github.com/shardbus/shardbus/transport"
)

// inbox holds the envelopes of a subscription that any of its lanes may take.
type inbox struct {
	envelopes ring.Ring[*transport.Envelope]
	bytes     int           // of all inboxes of the subscription
	overflow  atomic.Int64  // envelopes.Len(), readable by the lanes
	committed atomic.Uint64 // of a durable topic: events whose outcome is in the log
}

// pop takes the oldest envelope out of an inbox.
func pop(inbox *ring.Ring[*transport.Envelope], count *atomic.Int64, env **transport.Envelope) bool {
	if !inbox.Pop(env) {
		return false
	}
	count.Add(-1)
	return true
}
