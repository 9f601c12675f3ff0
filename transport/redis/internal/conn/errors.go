package conn

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Errors that the transport's methods wrap. Package redis documents them.
var (
	ErrTooOld      = errors.New("redis: server is too old")
	ErrUnsupported = errors.New("redis: no sharded Pub/Sub")
	ErrAuth        = errors.New("redis: login refused")
	ErrPermission  = errors.New("redis: permission denied")
	ErrUnreachable = errors.New("redis: no server answered")
	ErrNoPrimary   = errors.New("redis: no primary")
	ErrTimeout     = errors.New("redis: not accepted in time")
)

// replyClass is what an error of a command means for who sent it.
type replyClass uint8

const (
	// ReplyOK: it did what was asked.
	ReplyOK replyClass = iota
	// ReplyMoved: ask the node it names.
	ReplyMoved
	// ReplyRetryable: the node or the cluster cannot serve this now; try again a little later.
	ReplyRetryable
	// ReplyDenied: trying again does not help.
	ReplyDenied
	// ConnBroken: the connection is of no use any more.
	ConnBroken
)

// ReplyText returns what the server said, if the error is its.
func ReplyText(err error) (text string, ok bool) {
	if reply, ok := err.(resp.Error); ok { //nolint:errorlint // as it came off the connection
		return string(reply), true
	}
	if reply, ok := rueidis.IsRedisErr(err); ok {
		return reply.Error(), true
	}
	return "", false
}

// Classify sorts the errors that SPUBLISH, SSUBSCRIBE and SUNSUBSCRIBE may get.
func Classify(err error) replyClass {
	if err == nil || rueidis.IsRedisNil(err) {
		return ReplyOK
	}
	reply, ok := ReplyText(err)
	if !ok {
		return ConnBroken
	}
	switch word, _, _ := strings.Cut(reply, " "); word {
	case "MOVED":
		return ReplyMoved
	case "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "READONLY", "BUSY", "OOM", "ASK", "UNBLOCKED":
		return ReplyRetryable
	case "NOAUTH", "WRONGPASS": // the password changed: a new connection says more
		return ConnBroken
	}
	return ReplyDenied
}

// pingRefusals is how servers begin that refuse PING and are of use all the same. One that cannot
// save its snapshots refuses what writes, and PING; so does a replica without its primary
// (replica-serve-stale-data no). Neither refuses Pub/Sub.
var pingRefusals = []string{"MISCONF ", "MASTERDOWN "}

// ServesPubSub reports whether an answer to PING is that of a server that is of use all the same.
func ServesPubSub(err error) bool {
	reply, ok := ReplyText(err)
	return ok && slices.ContainsFunc(pingRefusals, func(word string) bool { return strings.HasPrefix(reply, word) })
}

// MovedTarget returns the address in a MOVED error from the node at addr.
func MovedTarget(err error, addr string) (string, bool) {
	reply, ok := ReplyText(err)
	if !ok {
		return "", false
	}
	return ParseMoved(reply, addr)
}

// ParseMoved returns the address in "MOVED slot host:port". A node that does not know its own host
// leaves it out, and means the one it was reached at; an IPv6 address has no brackets.
func ParseMoved(text, reached string) (string, bool) {
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != "MOVED" {
		return "", false
	}
	colon := strings.LastIndexByte(words[2], ':')
	if colon < 0 {
		return "", false
	}
	host := strings.Trim(words[2][:colon], "[]")
	return CompleteAddr(net.JoinHostPort(host, words[2][colon+1:]), reached)
}

// CompleteAddr completes an address that a node told by the host it was reached at. It reports
// false if the address names nobody.
func CompleteAddr(to, reached string) (string, bool) {
	host, port, err := net.SplitHostPort(to)
	if err != nil || host == UnknownHost || port == "" {
		return "", false
	}
	if host == "" {
		if host, _, err = net.SplitHostPort(reached); err != nil {
			return "", false
		}
	}
	return net.JoinHostPort(host, port), true
}

// RefusedDelay is how long a server is left alone that refused who we are: trying again at once
// would not help, and would fill its log.
func RefusedDelay() time.Duration { return retryDenied + rand.N(retryDenied/4) }

// retryDenied is how long a server is left alone that refused who we are, at least.
const retryDenied = time.Second

// IsAuthError reports whether an error is the server's no to who we are.
func IsAuthError(err error) bool { return errors.Is(err, ErrAuth) || errors.Is(err, ErrPermission) }

// UnknownHost is the endpoint of a node whose hostname is wanted and not known.
const UnknownHost = "?"
