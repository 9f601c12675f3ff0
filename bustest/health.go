package bustest

import "github.com/shardbus/shardbus/transport"

var _ transport.HealthReporter = (*faultTransport)(nil)

// Health says that the broker is down while it can't be reached.
func (l *faultTransport) Health() transport.Health {
	l.broker.mu.Lock()
	err := l.reachableLocked()
	l.broker.mu.Unlock()
	if err != nil {
		return transport.Health{Down: []transport.Part{{Name: "broker", Err: err}}}
	}
	return l.Transport.Health()
}
