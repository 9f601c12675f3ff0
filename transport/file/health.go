package file

import "github.com/shardbus/shardbus/transport"

var _ transport.HealthReporter = (*Log)(nil)

// Health says that the log is down while it is not served, when it has failed, and while there is no
// room.
func (l *Log) Health() transport.Health {
	l.mu.Lock()
	served := l.served
	l.mu.Unlock()
	st := l.current.Load().st
	st.mu.Lock()
	defer st.mu.Unlock()
	part := transport.Part{Name: "file " + l.path}
	switch {
	case st.failed != nil:
		part.Err = st.failed
	case !served:
		part.Err = transport.ErrNotServing
	case st.full != nil:
		part.Since, part.Err = st.fullSince, st.full
	default:
		return transport.Health{}
	}
	return transport.Health{Down: []transport.Part{part}}
}
