package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// ErrReplica is why a server is left that is neither of a cluster nor watched by sentinels: what is
// published at a replica reaches its own subscribers only.
var ErrReplica = errors.New("it is a replica, and events published there do not reach subscribers of its primary")

// ServerRole is what a server says that it is.
type ServerRole struct {
	Known   bool   // else it does not tell
	Replica bool   //
	Primary string // the address of a replica's primary; empty if it is not told
	RunID   string // the server's run ID, by which two addresses of one server are told from two servers; empty: not told
}

// Err is what is wrong with the server at addr for a publisher or a subscriber.
func (r ServerRole) Err(addr string) error {
	switch {
	case !r.Replica:
		return nil
	case r.Primary != "":
		return fmt.Errorf("redis: %s: %w (%s)", addr, ErrReplica, r.Primary)
	}
	return fmt.Errorf("redis: %s: %w", addr, ErrReplica)
}

// Name is what INFO calls the role; empty if it is not known.
func (r ServerRole) Name() string {
	switch {
	case !r.Known:
		return ""
	case r.Replica:
		return "slave"
	}
	return "master"
}

// RoleQuery asks one server for its role, over one connection. The commands that tell it are tried
// in turn, and the first that does is kept: HELLO needs no permission, but some proxies do not have
// it. It is not safe for concurrent use.
type RoleQuery struct {
	// Do sends a command, and returns the elements of the reply, or the text that it is.
	Do func(ctx context.Context, words ...string) ([]string, error)

	RunID string // Known after identify
	first int    // of roleCommands: those before do not tell
}

var roleCommands = []struct {
	words []string
	read  func(reply []string) ServerRole
}{
	{[]string{"HELLO"}, func(reply []string) ServerRole { return roleNamed(helloOf(reply).role) }},
	{[]string{"ROLE"}, roleOfROLE},
	{[]string{"INFO", "replication"}, RoleOfINFO},
}

// Identify asks for the role and the run ID. An error says that the connection is of no use.
func (r *RoleQuery) Identify(ctx context.Context) (ServerRole, error) {
	reply, err := r.Do(ctx, "INFO", "server", "replication")
	if err == nil {
		if role := RoleOfINFO(reply); role.Known {
			r.RunID = role.RunID
			return role, nil
		}
	} else if Classify(err) == ConnBroken {
		return ServerRole{}, err
	}
	return r.Again(ctx)
}

// Again asks for the role.
func (r *RoleQuery) Again(ctx context.Context) (ServerRole, error) {
	for ; r.first < len(roleCommands); r.first++ {
		command := roleCommands[r.first]
		reply, err := r.Do(ctx, command.words...)
		if err != nil && Classify(err) == ConnBroken {
			return ServerRole{}, err
		}
		if role := command.read(reply); err == nil && role.Known {
			role.RunID = r.RunID
			return role, nil
		}
	}
	return ServerRole{RunID: r.RunID}, nil
}

func roleNamed(name string) ServerRole {
	return ServerRole{Known: name == "master" || name == "slave" || name == "replica", Replica: name == "slave" || name == "replica"}
}

func roleOfROLE(reply []string) ServerRole {
	if len(reply) == 0 {
		return ServerRole{}
	}
	role := roleNamed(reply[0])
	if role.Replica && len(reply) > 2 {
		role.Primary = net.JoinHostPort(reply[1], reply[2])
	}
	return role
}

// RoleOfINFO reads the role out of the reply to INFO.
func RoleOfINFO(reply []string) ServerRole {
	info := InfoFields(strings.Join(reply, ""))
	role := roleNamed(info["role"])
	role.RunID = info["run_id"]
	if role.Replica && info["master_host"] != "" {
		role.Primary = net.JoinHostPort(info["master_host"], info["master_port"])
	}
	return role
}

// NewRoleQuery returns what asks over a connection of rueidis.
func NewRoleQuery(conn rueidis.CoreClient) *RoleQuery {
	return &RoleQuery{Do: func(ctx context.Context, words ...string) ([]string, error) {
		reply := conn.Do(ctx, conn.B().Arbitrary(words...).Build())
		message, err := reply.ToMessage()
		if err != nil {
			return nil, err
		}
		return elements(message), nil
	}}
}

// elements are those of an array or a map, flat, or the text that a message is. What is no text is
// empty.
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

// NewRoleQueryOver returns what asks through do, which sends a command and returns the reply.
func NewRoleQueryOver(do func(command []byte) ([]resp.Reply, error)) *RoleQuery {
	return &RoleQuery{Do: func(_ context.Context, words ...string) ([]string, error) {
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
