package redis

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// Errors that [Open], Publish and Subscribe wrap, beside those of package transport.
var (
	// ErrTooOld: the server is older than Redis 7.0, which brought sharded Pub/Sub.
	ErrTooOld = errors.New("redis: server is too old")
	// ErrAuth: the server wants another user or password.
	ErrAuth = errors.New("redis: login refused")
	// ErrPermission: the user's ACL forbids a command or channel.
	ErrPermission = errors.New("redis: permission denied")
	// ErrUnreachable: no start address answered.
	ErrUnreachable = errors.New("redis: no server answered")
	// ErrTimeout: an event was not accepted in time. It may have been received all the same.
	ErrTimeout = errors.New("redis: not accepted in time")
)

// errNoOwner is why an event waits whose slot nobody serves.
var errNoOwner = errors.New("no node owns the slot: the cluster is not whole, see CLUSTER SLOTS")

// verdict is what an error of a command means for who sent it.
type verdict uint8

const (
	fine      verdict = iota
	moved             // ask the node it names
	busyNode          // the node or the cluster cannot serve this now; try again a little later
	forbidden         // trying again does not help
	broken            // the connection is of no use any more
)

// judge sorts the errors that SPUBLISH, SSUBSCRIBE and SUNSUBSCRIBE may get.
func judge(err error) verdict {
	if err == nil || rueidis.IsRedisNil(err) {
		return fine
	}
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		return broken
	}
	if _, isMoved := reply.IsMoved(); isMoved {
		return moved
	}
	switch word, _, _ := strings.Cut(reply.Error(), " "); word {
	case "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "READONLY", "BUSY", "OOM", "ASK", "UNBLOCKED":
		return busyNode
	case "NOAUTH", "WRONGPASS": // the password changed: a new connection says more
		return broken
	}
	return forbidden
}

// explain wraps the errors of login and ACL in ours.
func explain(err error) error {
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		return err
	}
	switch word, _, _ := strings.Cut(reply.Error(), " "); word {
	case "NOAUTH", "WRONGPASS":
		return fmt.Errorf("%w: check Config.Username and Config.Password: %w", ErrAuth, err)
	case "NOPERM":
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}

// movedTo returns the address in a MOVED error from the node at addr. A node that does not know its own host leaves it
// out, and means the one it was reached at.
func movedTo(err error, addr string) (string, bool) {
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		return "", false
	}
	to, ok := reply.IsMoved()
	if !ok {
		return "", false
	}
	return endpoint(to, addr)
}

// endpoint completes an address that a node told by the host it was reached at.
func endpoint(to, reached string) (string, bool) {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return "", false
	}
	if host == "" || host == "?" {
		if host, _, err = net.SplitHostPort(reached); err != nil {
			return "", false
		}
	}
	return net.JoinHostPort(host, port), true
}

// isRefusal reports whether an error is the server's no to who we are.
func isRefusal(err error) bool { return errors.Is(err, ErrAuth) || errors.Is(err, ErrPermission) }
