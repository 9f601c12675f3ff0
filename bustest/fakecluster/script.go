package fakecluster

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/shardbus/shardbus/router"
)

// eval answers EVAL and EVALSHA. Every node has scripts of its own: a replica that is promoted lacks those of its
// predecessor.
func (cl *client) eval(args []string) {
	if len(args) < 3 {
		cl.wrongNumber()
		return
	}
	bySum := strings.HasPrefix(cl.name, "EVALSHA")
	if bySum && !cl.hasScript(args[1]) {
		cl.fail("NOSCRIPT No matching script. Please use EVAL.")
		return
	}
	cl.inScript(args)
	if !bySum && !cl.failed() {
		cl.keepScript(args[1])
	}
}

// scriptCommand answers SCRIPT LOAD, EXISTS and FLUSH, for this node.
func (cl *client) scriptCommand(args []string) {
	switch {
	case len(args) == 3 && isOneOf(args[1], "LOAD"):
		cl.backend(args)
		if !cl.failed() {
			cl.keepScript(args[2])
		}
	case len(args) > 2 && isOneOf(args[1], "EXISTS"):
		cl.reply.array(len(args) - 2)
		for _, sum := range args[2:] {
			cl.reply.int(map[bool]int{false: 0, true: 1}[cl.hasScript(sum)])
		}
	case len(args) == 2 && isOneOf(args[1], "FLUSH"):
		cl.cluster.mu.Lock()
		defer cl.cluster.mu.Unlock()
		clear(cl.node.scripts)
		cl.reply.ok()
	case len(args) > 1 && isOneOf(args[1], "LOAD", "EXISTS"):
		cl.fail("ERR wrong number of arguments for 'script|%s' command", strings.ToLower(args[1]))
	default:
		cl.unmodelled(args)
	}
}

// inScript has the backend run what may call commands on behalf of this client.
func (cl *client) inScript(args []string) {
	c := cl.cluster
	c.scripting.Lock()
	defer c.scripting.Unlock()
	c.caller = cl
	defer func() { c.caller = nil }()
	cl.backend(args)
}

// beforeBackend looks at every command before the backend does. Those of clients have been looked at already; the rest
// is what scripts call, with the backend's lock held.
func (c *Cluster) beforeBackend(peer *server.Peer, name string, rest ...string) (done bool) {
	if peer.ClientName == direct {
		return false
	}
	caller := c.caller
	args := append([]string{name}, rest...)
	cmd := c.commands[name]
	if caller == nil || cmd == nil || cmd.refuse != nil && cmd.refuse(args) {
		c.unknown.report(c.t, name, args)
		peer.WriteError("ERR fakecluster does not model this command: " + name)
		return true
	}
	if problem := caller.foreign(peer, cmd, args); problem != "" {
		peer.WriteError(problem)
		return true
	}
	switch {
	case name == "SPUBLISH" || name == "PUBLISH":
		if len(rest) != 2 {
			peer.WriteError("ERR Wrong number of args calling Redis command from script")
			return true
		}
		caller.checkOwnPush(name == "SPUBLISH", rest[0])
		peer.WriteInt(caller.node.publish(message{shard: name == "SPUBLISH", channel: rest[0], payload: rest[1]}))
		return true
	case name == "XLEN":
		return len(rest) == 1 && refuseWrongType(peer, c.typeInScript(peer, rest[0]))
	case cmd.run != nil && name != "PING":
		peer.WriteError("ERR This Redis command is not allowed from script")
		return true
	}
	return false
}

// checkOwnPush fails the test when a transaction publishes to its own client before 7.2: those servers write the push
// into the middle of EXEC's reply, which no client can read.
func (cl *client) checkOwnPush(shard bool, channel string) {
	c := cl.cluster
	c.mu.Lock()
	own := shard && cl.shard[channel] || !shard && cl.normal[channel]
	c.mu.Unlock()
	if own && cl.name == "EXEC" && c.version.before(pushesLast) {
		c.unknown.report(c.t, "EXEC", []string{"EXEC", "that publishes to its own client, before 7.2: channel", channel})
	}
}

// foreign is the error of a script's command on a key or channel that is not at the client's node.
func (cl *client) foreign(peer *server.Peer, cmd *command, args []string) string {
	const problem = "ERR Script attempted to access a non local key in a cluster node"
	if cl.cluster.cfg.Standalone {
		return ""
	}
	for _, key := range cmd.keysOf(args) {
		p := cl.place(router.Slot(key))
		local := p.primary || cmd.channels && p.member || p.importing || p.member && cl.reads && !cmd.write
		if !local || !cmd.channels && p.down {
			return problem
		}
		if p.primary && p.migration != nil && !cmd.channels &&
			(cl.cluster.hasMoved(p.migration, key) || cl.cluster.typeInScript(peer, key) == "none") {
			return problem
		}
	}
	return ""
}

// typeInScript is the type of a key, asked for while the script of peer runs.
func (c *Cluster) typeInScript(peer *server.Peer, key string) string {
	var r reply
	asking, flush := c.peer(&r)
	asking.Ctx = peer.Ctx // says that the backend is locked
	c.dispatch.Dispatch(asking, []string{"TYPE", key})
	flush()
	return strings.Trim(string(r.buf), "+\r\n")
}

// refuseWrongType answers XLEN of what is no stream, to which the backend would reply twice.
func refuseWrongType(peer *server.Peer, kind string) bool {
	if kind == "" || kind == "none" || kind == "stream" {
		return false
	}
	peer.WriteError("WRONGTYPE Operation against a key holding the wrong kind of value")
	return true
}

func (cl *client) xlen(args []string) {
	if len(args) == 2 && refuseWrongType(cl.peer, cl.cluster.backend.DB(0).Type(args[1])) {
		cl.flush()
		return
	}
	cl.backend(args)
}

func (cl *client) keepScript(script string) {
	sum := sha1.Sum([]byte(script))
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	cl.node.scripts[hex.EncodeToString(sum[:])] = true
}
