package memory

import "github.com/shardbus/shardbus/transport"

var _ transport.HealthReporter = (*Log)(nil)

// Health says that the log is down while it is not served.
func (l *Log) Health() transport.Health {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if !l.served {
		return transport.Health{Down: []transport.Part{{Name: "memory", Err: transport.ErrNotServing}}}
	}
	return transport.Health{}
}
