package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hello answers HELLO: [version [AUTH user password] [SETNAME name]].
func (cl *client) hello(args []string) {
	c := cl.cluster
	resp3, rest := cl.reply.resp3, args[1:]
	if len(rest) > 0 {
		if rest[0] != "2" && rest[0] != "3" {
			cl.fail("NOPROTO unsupported protocol version")
			return
		}
		resp3, rest = rest[0] == "3", rest[1:]
	}
	label, named := "", false
	for len(rest) > 0 {
		switch {
		case strings.EqualFold(rest[0], "AUTH") && len(rest) >= 3:
			if !cl.login(rest[1], rest[2]) {
				return
			}
			rest = rest[3:]
		case strings.EqualFold(rest[0], "SETNAME") && len(rest) >= 2:
			label, named, rest = rest[1], true, rest[2:]
		default:
			cl.fail("ERR Syntax error in HELLO option '%s'", rest[0])
			return
		}
	}
	if !cl.authed {
		cl.fail("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cl.resp3, cl.reply.resp3 = resp3, resp3
	if named {
		cl.label = label
	}
	r := &cl.reply
	r.object(7)
	r.bulk("server")
	r.bulk("redis")
	r.bulk("version")
	r.bulk(c.cfg.Version)
	r.bulk("proto")
	r.int(map[bool]int{false: 2, true: 3}[resp3])
	r.bulk("id")
	r.int(cl.id)
	r.bulk("mode")
	r.bulk(c.mode())
	r.bulk("role")
	if s, _ := cl.node.view.home(cl.node); s != nil && s.primary != cl.node {
		r.bulk("replica")
	} else {
		r.bulk("master")
	}
	r.bulk("modules")
	r.array(0)
}

func (c *Cluster) mode() string {
	if c.cfg.Standalone {
		return "standalone"
	}
	return "cluster"
}

func (cl *client) auth(args []string) {
	user := "default"
	switch len(args) {
	case 1:
		cl.wrongNumber()
		return
	case 2:
	case 3:
		user = args[1]
	default:
		cl.fail("ERR syntax error")
		return
	}
	if cl.cluster.cfg.Password == "" && len(args) == 2 {
		cl.fail("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return
	}
	if cl.login(user, args[len(args)-1]) {
		cl.reply.ok()
	}
}

// login checks a password, and replies if it is wrong. Without a Config.Password the default user's is any.
func (cl *client) login(user, password string) bool {
	want := cl.cluster.cfg.Password
	if user != "default" || want != "" && password != want {
		cl.fail("WRONGPASS invalid username-password pair or user is disabled.")
		return false
	}
	cl.authed = true
	return true
}

func (cl *client) ping(args []string) {
	if len(args) > 2 {
		cl.wrongNumber()
		return
	}
	cl.cluster.mu.Lock()
	subscribed := len(cl.shard)+len(cl.normal) > 0
	cl.cluster.mu.Unlock()
	switch {
	case subscribed && !cl.reply.resp3:
		cl.reply.array(2)
		cl.reply.bulk("pong")
		cl.reply.bulk(strings.Join(args[1:], ""))
	case len(args) == 2:
		cl.reply.bulk(args[1])
	default:
		cl.reply.simple("PONG")
	}
}

func (cl *client) quit([]string) {
	cl.quitting = true
	cl.reply.ok()
}

func (cl *client) selectDB(args []string) {
	switch {
	case len(args) != 2:
		cl.wrongNumber()
	case args[1] == "0":
		cl.reply.ok()
	case cl.cluster.cfg.Standalone:
		cl.unmodelled(args)
	default:
		cl.fail("ERR SELECT is not allowed in cluster mode")
	}
}

func (cl *client) readOnly([]string)  { cl.setReads(true) }
func (cl *client) readWrite([]string) { cl.setReads(false) }

func (cl *client) setReads(yes bool) {
	if cl.noCluster() {
		return
	}
	cl.reads = yes
	cl.reply.ok()
}

func (cl *client) ask([]string) {
	if cl.noCluster() {
		return
	}
	cl.asking = true
	cl.reply.ok()
}

// noCluster replies to what a standalone server refuses.
func (cl *client) noCluster() bool {
	if cl.cluster.cfg.Standalone {
		cl.fail("ERR This instance has cluster support disabled")
	}
	return cl.cluster.cfg.Standalone
}

// wait answers WAIT. Replicas have every write at once, so it counts those that can be reached.
func (cl *client) wait(args []string) {
	if len(args) != 3 {
		cl.wrongNumber()
		return
	}
	wanted, err := strconv.Atoi(args[1])
	millis, err2 := strconv.Atoi(args[2])
	if err != nil || err2 != nil || millis < 0 {
		cl.fail("ERR value is not an integer or out of range")
		return
	}
	const poll = 10 * time.Millisecond
	begun := time.Now()
	for {
		count, primary := cl.node.reachable()
		if !primary {
			cl.fail("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.")
			return
		}
		if count >= wanted || millis > 0 && time.Since(begun) >= time.Duration(millis)*time.Millisecond || !cl.sleep(poll) {
			cl.reply.int(count)
			return
		}
	}
}

// reachable counts the node's replicas that it can reach.
func (n *Node) reachable() (count int, primary bool) {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	s, _ := n.view.home(n)
	if s == nil || s.primary != n {
		return 0, s == nil
	}
	for _, r := range s.replicas {
		if r.availableLocked() && !n.isolated {
			count++
		}
	}
	return count, true
}

func (cl *client) acl(args []string) {
	if len(args) == 2 && strings.EqualFold(args[1], "WHOAMI") {
		cl.reply.bulk("default")
		return
	}
	cl.unmodelled(args)
}

// clientCommand answers CLIENT. Tracking is accepted in the mode in which nothing is tracked until CLIENT CACHING asks
// for it, which is not modelled.
func (cl *client) clientCommand(args []string) {
	c, sub := cl.cluster, ""
	if len(args) > 1 {
		sub = strings.ToUpper(args[1])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case sub == "ID" && len(args) == 2:
		cl.reply.int(cl.id)
	case sub == "GETNAME" && len(args) == 2 && cl.label == "":
		cl.reply.null()
	case sub == "GETNAME" && len(args) == 2:
		cl.reply.bulk(cl.label)
	case sub == "SETNAME" && len(args) == 3:
		cl.label = args[2]
		cl.reply.ok()
	case sub == "SETINFO" && len(args) == 4 && c.version.before(version{7, 2, 0}):
		cl.fail("ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.")
	case sub == "SETINFO" && len(args) == 4, sub == "NO-EVICT" && len(args) == 3, sub == "NO-TOUCH" && len(args) == 3,
		sub == "TRACKING" && (len(args) == 3 && strings.EqualFold(args[2], "OFF") || hasWord(args, "OPTIN")):
		cl.reply.ok()
	case sub == "LIST" && len(args) == 2:
		cl.reply.bulk(cl.node.clientListLocked(""))
	case sub == "LIST" && len(args) == 4 && strings.EqualFold(args[2], "ID"):
		cl.reply.bulk(cl.node.clientListLocked(args[3]))
	case sub == "KILL" && len(args) == 4 && isOneOf(args[2], "ID", "TYPE"):
		cl.killLocked(strings.ToUpper(args[2]), args[3])
	default:
		cl.unmodelled(args)
	}
}

// clientListLocked is the text of CLIENT LIST, with the fields that the fake knows; of the client of that ID, or all.
func (n *Node) clientListLocked(id string) string {
	var b strings.Builder
	for _, cl := range slices.SortedFunc(maps.Keys(n.clients), func(a, b *client) int { return a.id - b.id }) {
		if id != "" && id != strconv.Itoa(cl.id) {
			continue
		}
		fmt.Fprintf(&b, "id=%d addr=%s laddr=%s name=%s age=%d sub=%d psub=0 ssub=%d omem=%d resp=%d\n", cl.id, cl.conn.RemoteAddr(), n.addr,
			cl.label, int(time.Since(cl.born).Seconds()), len(cl.normal), len(cl.shard), cl.out.size(), map[bool]int{false: 2, true: 3}[cl.resp3])
	}
	return b.String()
}

// killLocked answers CLIENT KILL ID n and CLIENT KILL TYPE kind. The own connection is spared, as by SKIPME yes.
func (cl *client) killLocked(filter, value string) {
	if filter == "TYPE" && !isOneOf(value, "normal", "pubsub") {
		cl.unmodelled([]string{"CLIENT", "KILL", filter, value})
		return
	}
	count := 0
	for other := range cl.node.clients {
		if other != cl && (filter == "ID" && value == strconv.Itoa(other.id) || filter == "TYPE" && strings.EqualFold(value, other.kindLocked())) {
			other.dropLocked()
			count++
		}
	}
	cl.reply.int(count)
}
