package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// errReplica is why a server is left that is neither of a cluster nor watched by sentinels: what is published at a replica
// reaches its own subscribers only.
var errReplica = errors.New("it is a replica, and what is published there reaches nobody at its primary")

// serverRole is what a server says that it is.
type serverRole struct {
	known   bool   // else it does not tell
	replica bool   //
	primary string // the address of a replica's primary; empty if it is not told
	runID   string // the server's run ID, by which two addresses of one server are told from two servers; empty: not told
}

// err is what is wrong with the server at addr for a publisher or a subscriber.
func (r serverRole) err(addr string) error {
	switch {
	case !r.replica:
		return nil
	case r.primary != "":
		return fmt.Errorf("redis: %s: %w (%s)", addr, errReplica, r.primary)
	}
	return fmt.Errorf("redis: %s: %w", addr, errReplica)
}

// name is what INFO calls the role; empty if it is not known.
func (r serverRole) name() string {
	switch {
	case !r.known:
		return ""
	case r.replica:
		return "slave"
	}
	return "master"
}

// roleQuery asks one server for its role, over one connection. The commands that tell it are tried in turn, and the first
// that does is kept: HELLO needs no permission, but some proxies do not have it. It is not safe for concurrent use.
type roleQuery struct {
	// do sends a command, and returns the elements of the reply, or the text that it is.
	do func(ctx context.Context, words ...string) ([]string, error)

	runID string // known after identify
	first int    // of roleCommands: those before do not tell
}

var roleCommands = []struct {
	words []string
	read  func(reply []string) serverRole
}{
	{[]string{"HELLO"}, func(reply []string) serverRole { return roleNamed(helloOf(reply).role) }},
	{[]string{"ROLE"}, roleOfROLE},
	{[]string{"INFO", "replication"}, roleOfINFO},
}

// identify asks for the role and the run ID. An error says that the connection is of no use.
func (r *roleQuery) identify(ctx context.Context) (serverRole, error) {
	reply, err := r.do(ctx, "INFO", "server", "replication")
	if err == nil {
		if role := roleOfINFO(reply); role.known {
			r.runID = role.runID
			return role, nil
		}
	} else if classifyReply(err) == connBroken {
		return serverRole{}, err
	}
	return r.again(ctx)
}

// again asks for the role.
func (r *roleQuery) again(ctx context.Context) (serverRole, error) {
	for ; r.first < len(roleCommands); r.first++ {
		command := roleCommands[r.first]
		reply, err := r.do(ctx, command.words...)
		if err != nil && classifyReply(err) == connBroken {
			return serverRole{}, err
		}
		if role := command.read(reply); err == nil && role.known {
			role.runID = r.runID
			return role, nil
		}
	}
	return serverRole{runID: r.runID}, nil
}

func roleNamed(name string) serverRole {
	return serverRole{known: name == "master" || name == "slave" || name == "replica", replica: name == "slave" || name == "replica"}
}

func roleOfROLE(reply []string) serverRole {
	if len(reply) == 0 {
		return serverRole{}
	}
	role := roleNamed(reply[0])
	if role.replica && len(reply) > 2 {
		role.primary = net.JoinHostPort(reply[1], reply[2])
	}
	return role
}

func roleOfINFO(reply []string) serverRole {
	info := fields(strings.Join(reply, ""))
	role := roleNamed(info["role"])
	role.runID = info["run_id"]
	if role.replica && info["master_host"] != "" {
		role.primary = net.JoinHostPort(info["master_host"], info["master_port"])
	}
	return role
}

// roleQueryOn returns what asks over a connection of rueidis.
func roleQueryOn(conn rueidis.CoreClient) *roleQuery {
	return &roleQuery{do: func(ctx context.Context, words ...string) ([]string, error) {
		reply := conn.Do(ctx, conn.B().Arbitrary(words...).Build())
		message, err := reply.ToMessage()
		if err != nil {
			return nil, err
		}
		return elements(message), nil
	}}
}

// elements are those of an array or a map, flat, or the text that a message is. What is no text is empty.
func elements(message rueidis.RedisMessage) []string {
	if message.IsMap() {
		pairs, err := message.ToMap()
		if err != nil {
			return nil
		}
		var words []string
		for key, value := range pairs {
			words = append(words, key, textIn(value))
		}
		return words
	}
	values, err := message.ToArray()
	if err != nil {
		return []string{strings.TrimPrefix(textIn(message), "txt:")}
	}
	words := make([]string, len(values))
	for i, value := range values {
		words[i] = textIn(value)
	}
	return words
}

// textIn is the text or number that a message is; empty if it is neither.
func textIn(message rueidis.RedisMessage) string {
	if text, err := message.ToString(); err == nil {
		return text
	}
	if n, err := message.AsInt64(); err == nil {
		return fmt.Sprint(n)
	}
	return ""
}

// roleQueryOver returns what asks through do, which sends a command and returns the reply.
func roleQueryOver(do func(command []byte) ([]resp.Reply, error)) *roleQuery {
	return &roleQuery{do: func(_ context.Context, words ...string) ([]string, error) {
		replies, err := do(resp.Append(nil, words...))
		if err == nil {
			err = replies[0].Err()
		}
		switch {
		case err != nil:
			return nil, err
		case replies[0].Kind == resp.List:
			return resp.Words([]byte(replies[0].Text)), nil
		}
		return []string{replies[0].Text}, nil
	}}
}
