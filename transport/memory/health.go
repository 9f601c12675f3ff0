package memory

import (
	"errors"

	"github.com/shardbus/shardbus/transport"
)

var _ transport.HealthReporter = (*Transport)(nil)

// Health says that the transport is down while it is not served, and while it is severed.
func (t *Transport) Health() transport.Health {
	t.gate.RLock()
	defer t.gate.RUnlock()
	switch {
	case t.gate.sink == nil:
		return transport.Health{Down: []transport.Part{{Name: "memory", Err: transport.ErrNotServing}}}
	case t.cuts.Load() > 0:
		return transport.Health{Down: []transport.Part{{Name: "memory", Err: errors.New("it is severed from its broker")}}}
	}
	return transport.Health{}
}
