package redis

import (
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// Errors that [Open], Publish and Subscribe wrap, beside those of package transport.
var (
	// ErrTooOld: the server is older than Redis 7.0, which brought sharded Pub/Sub.
	ErrTooOld = conn.ErrTooOld
	// ErrUnsupported: the server, or a proxy in front of it, does not know SPUBLISH or SSUBSCRIBE
	// under that name.
	ErrUnsupported = conn.ErrUnsupported
	// ErrAuth: the server refused the user or the password.
	ErrAuth = conn.ErrAuth
	// ErrPermission: the user's ACL forbids a command or channel.
	ErrPermission = conn.ErrPermission
	// ErrUnreachable: no start address answered.
	ErrUnreachable = conn.ErrUnreachable
	// ErrNoPrimary: the sentinels do not name a primary that says itself that it is one, or the
	// standalone servers that answer are replicas.
	ErrNoPrimary = conn.ErrNoPrimary
	// ErrTimeout: an event was not accepted in time. It may have been received all the same.
	ErrTimeout = conn.ErrTimeout
)
