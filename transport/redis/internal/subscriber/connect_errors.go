package subscriber

import (
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
)

// noteError notes what is wrong with a session, for who waits for channels there and gives up.
func (r *subscriptions) noteError(key connkey.Key, err error) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.core.NoteError(key, err)
}

// unreachable notes why there is no session, and tells those who wait for channels there if waiting does not help.
func (r *subscriptions) unreachable(key connkey.Key, err error) {
	r.lock()
	defer r.mu.Unlock()
	if conn.IsAuthError(err) {
		r.mu.core.Unreachable(key, err)
	} else {
		r.mu.core.NoteError(key, err)
	}
}

// connectError returns what keeps a topic from being live, if that is known.
func (r *subscriptions) connectError(topic string) error {
	r.lock()
	defer r.mu.Unlock()
	unowned, err := r.mu.core.Why(topic)
	if unowned {
		return control.ErrNoOwner
	}
	return err
}
