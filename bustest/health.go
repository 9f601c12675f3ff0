package bustest

import "github.com/shardbus/shardbus/transport"

var _ transport.HealthReporter = (*link)(nil)

// Health says that the broker is down while it can't be reached.
func (l *link) Health() transport.Health {
	l.hub.mu.Lock()
	err := l.reachableLocked()
	l.hub.mu.Unlock()
	if err != nil {
		return transport.Health{Down: []transport.Part{{Name: "broker", Err: err}}}
	}
	return l.Transport.Health()
}
