package redis

import (
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Errors that [Open], Publish and Subscribe wrap, beside those of package transport.
var (
	// ErrTooOld: the server is older than Redis 7.0, which brought sharded Pub/Sub.
	ErrTooOld = errors.New("redis: server is too old")
	// ErrUnsupported: the server, or a proxy before it, does not know SPUBLISH or SSUBSCRIBE under that name.
	ErrUnsupported = errors.New("redis: no sharded Pub/Sub")
	// ErrAuth: the server wants another user or password.
	ErrAuth = errors.New("redis: login refused")
	// ErrPermission: the user's ACL forbids a command or channel.
	ErrPermission = errors.New("redis: permission denied")
	// ErrUnreachable: no start address answered.
	ErrUnreachable = errors.New("redis: no server answered")
	// ErrNoPrimary: the sentinels do not name a primary that says that it is one, or the standalone servers that answer are
	// replicas.
	ErrNoPrimary = errors.New("redis: no primary")
	// ErrTimeout: an event was not accepted in time. It may have been received all the same.
	ErrTimeout = errors.New("redis: not accepted in time")
)

// errNoOwner is why an event waits whose slot nobody serves.
var errNoOwner = errors.New("no node owns the slot: the cluster is not whole, see CLUSTER SLOTS")

// replyClass is what an error of a command means for who sent it.
type replyClass uint8

const (
	replyOK        replyClass = iota
	replyMoved                // ask the node it names
	replyRetryable            // the node or the cluster cannot serve this now; try again a little later
	replyDenied               // trying again does not help
	connBroken                // the connection is of no use any more
)

// replyText returns what the server said, if the error is its.
func replyText(err error) (text string, ok bool) {
	if reply, ok := err.(resp.Error); ok { //nolint:errorlint // as it came off the connection
		return string(reply), true
	}
	if reply, ok := rueidis.IsRedisErr(err); ok {
		return reply.Error(), true
	}
	return "", false
}

// classifyReply sorts the errors that SPUBLISH, SSUBSCRIBE and SUNSUBSCRIBE may get.
func classifyReply(err error) replyClass {
	if err == nil || rueidis.IsRedisNil(err) {
		return replyOK
	}
	reply, ok := replyText(err)
	if !ok {
		return connBroken
	}
	switch word, _, _ := strings.Cut(reply, " "); word {
	case "MOVED":
		return replyMoved
	case "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "READONLY", "BUSY", "OOM", "ASK", "UNBLOCKED":
		return replyRetryable
	case "NOAUTH", "WRONGPASS": // the password changed: a new connection says more
		return connBroken
	}
	return replyDenied
}

// pingRefusals is how servers begin that refuse PING and are of use all the same. One that cannot save its snapshots refuses
// what writes, and PING; so does a replica without its primary (replica-serve-stale-data no). Neither refuses Pub/Sub.
var pingRefusals = []string{"MISCONF ", "MASTERDOWN "}

// servesPubSub reports whether an answer to PING is that of a server that is of use all the same.
func servesPubSub(err error) bool {
	reply, ok := replyText(err)
	return ok && slices.ContainsFunc(pingRefusals, func(word string) bool { return strings.HasPrefix(reply, word) })
}

// movedTarget returns the address in a MOVED error from the node at addr.
func movedTarget(err error, addr string) (string, bool) {
	reply, ok := replyText(err)
	if !ok {
		return "", false
	}
	return parseMoved(reply, addr)
}

// parseMoved returns the address in "MOVED slot host:port". A node that does not know its own host leaves it out, and
// means the one it was reached at; an IPv6 address has no brackets.
func parseMoved(text, reached string) (string, bool) {
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != "MOVED" {
		return "", false
	}
	colon := strings.LastIndexByte(words[2], ':')
	if colon < 0 {
		return "", false
	}
	host := strings.Trim(words[2][:colon], "[]")
	return completeAddr(net.JoinHostPort(host, words[2][colon+1:]), reached)
}

// completeAddr completes an address that a node told by the host it was reached at. It reports false if the address names
// nobody.
func completeAddr(to, reached string) (string, bool) {
	host, port, err := net.SplitHostPort(to)
	if err != nil || host == unknownHost || port == "" {
		return "", false
	}
	if host == "" {
		if host, _, err = net.SplitHostPort(reached); err != nil {
			return "", false
		}
	}
	return net.JoinHostPort(host, port), true
}

// isAuthError reports whether an error is the server's no to who we are.
func isAuthError(err error) bool { return errors.Is(err, ErrAuth) || errors.Is(err, ErrPermission) }
