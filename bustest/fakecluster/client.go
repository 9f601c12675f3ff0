package fakecluster

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// arrivalQueue is how many commands of one client are read ahead, as a socket's buffer would.
const arrivalQueue = 1024

// client is one connection to one node. Three goroutines serve it: one reads, one carries out the commands in order,
// one writes. So a client that does not read its replies, or a command that blocks, holds up nobody else.
type client struct {
	node    *Node
	cluster *Cluster
	id      int
	conn    net.Conn
	born    time.Time
	out     *output
	gone    chan struct{} // closed when the connection has ended
	peer    *server.Peer  // what the backend takes it for
	flush   func()        // what the backend wrote into reply

	// Touched by the goroutine that carries out the commands only.
	reply    reply
	name     string // the command that runs
	authed   bool
	asking   bool
	reads    bool // READONLY
	quitting bool
	tx       transaction

	// What follows is guarded by cluster.mu.
	dead    bool
	running bool // a command runs: what is pushed waits for its reply
	pushed  []byte
	resp3   bool
	label   string // CLIENT SETNAME
	shard   map[string]bool
	normal  map[string]bool
}

func newClient(n *Node, id int, conn net.Conn) *client {
	cl := &client{
		node: n, cluster: n.cluster, id: id, conn: conn, born: time.Now(), gone: make(chan struct{}),
		out: newOutput(n.cluster.cfg.OutputBufferBytes), shard: map[string]bool{}, normal: map[string]bool{},
		authed: n.cluster.cfg.Password == "",
	}
	cl.peer, cl.flush = n.cluster.peer(&cl.reply)
	return cl
}

// direct marks the peers of clients. Those of scripts, which the backend makes, have no name.
const direct = "client"

// peer returns a peer of the backend that writes into r when flush is called.
func (c *Cluster) peer(r *reply) (peer *server.Peer, flush func()) {
	w := bufio.NewWriterSize(r, 512)
	peer = server.NewPeer(w)
	peer.ClientName = direct
	return peer, peer.Flush
}

// start serves the client until its connection ends.
func (cl *client) start() {
	arrived := make(chan arrival, arrivalQueue)
	running := &cl.cluster.running
	running.Go(func() {
		cl.read(arrived)
		cl.cluster.mu.Lock()
		cl.dropLocked()
		cl.cluster.mu.Unlock()
		cl.peer.Close()
		cl.cluster.nudge()
	})
	running.Go(func() {
		for {
			select {
			case a := <-arrived:
				cl.carryOut(a)
			case <-cl.gone:
				return
			}
		}
	})
	running.Go(func() {
		cl.out.run(cl.conn, cl.gone, cl.pass)
		closeConn(cl.conn)
	})
}

// arrival is a command line, and when it came.
type arrival struct {
	args []string
	at   time.Time
}

// read reads until the connection ends.
func (cl *client) read(arrived chan<- arrival) {
	r := bufio.NewReader(cl.conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		if len(args) == 0 {
			continue
		}
		select {
		case arrived <- arrival{args: args, at: time.Now()}:
		case <-cl.gone:
			return
		}
	}
}

// carryOut runs one command and sends its reply, then what was pushed meanwhile.
func (cl *client) carryOut(a arrival) {
	if !cl.late(a.at) || !cl.pass() {
		return
	}
	c := cl.cluster
	c.mu.Lock()
	if cl.dead {
		c.mu.Unlock()
		return
	}
	cl.running = true
	cl.reply.resp3 = cl.resp3
	c.mu.Unlock()
	cl.reply.buf = cl.reply.buf[:0]

	after := cl.run(a.args)

	c.mu.Lock()
	defer c.mu.Unlock()
	cl.running = false
	if cl.dead {
		return
	}
	first, second := cl.reply.buf, cl.pushed
	if after.mute {
		first = nil
	}
	if c.version.before(pushesLast) && !isOneOf(cl.name, "SSUBSCRIBE", "SUBSCRIBE") {
		first, second = second, first
	}
	fits := cl.out.put(first)
	fits = cl.out.put(second) && fits
	cl.pushed = cl.pushed[:0]
	if !fits || after.cut {
		cl.dropLocked()
	}
	if after.end {
		cl.out.end()
	}
	if cap(cl.reply.buf) > keptBuffer {
		cl.reply.buf = nil
	}
}

// pushesLast is the first version that writes what a command pushes to its own client behind the reply.
var pushesLast = version{7, 2, 0}

// afterReply is what becomes of a connection after a command.
type afterReply struct {
	mute bool // the reply is not sent
	cut  bool // the connection is closed now
	end  bool // or when all is written
}

// late waits until the node's latency has passed since the command came. It reports false when the client has gone.
func (cl *client) late(at time.Time) bool {
	cl.cluster.mu.Lock()
	latency := cl.node.latency
	cl.cluster.mu.Unlock()
	return latency == 0 || cl.sleep(latency-time.Since(at))
}

// sleep waits for d. It reports false when the client has gone.
func (cl *client) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-cl.gone:
		return false
	}
}

// dropLocked ends the connection, and its subscriptions, now. What waits to be written is lost.
func (cl *client) dropLocked() {
	if cl.dead {
		return
	}
	cl.dead = true
	delete(cl.node.clients, cl)
	close(cl.gone)
	closeConn(cl.conn)
}

// pushLocked sends a message that is no reply. A client that is too slow is cut off.
func (cl *client) pushLocked(words func(*reply)) {
	if cl.dead {
		return
	}
	r := reply{resp3: cl.resp3}
	words(&r)
	if cl.running {
		cl.pushed = append(cl.pushed, r.buf...)
		return
	}
	if !cl.out.put(r.buf) {
		cl.dropLocked()
	}
}

// run carries out one command line; the reply is in cl.reply.
func (cl *client) run(args []string) afterReply {
	cl.name = strings.ToUpper(args[0])
	c := cl.cluster
	asking := cl.asking
	cl.asking = false
	call := Call{Node: cl.node, Client: cl.id, Args: args}
	call.Number = c.log.add(cl.name, call)
	outcome := c.faults.ask(cl.name, call)
	if outcome.delay > 0 && !cl.sleep(outcome.delay) {
		return afterReply{cut: true}
	}
	switch {
	case outcome.hang:
		<-cl.gone
		return afterReply{mute: true}
	case outcome.err != "":
		cl.fail("%s", outcome.err)
		return afterReply{}
	case outcome.drop:
		return afterReply{mute: true, cut: true}
	}
	cl.execute(args, asking)
	return afterReply{mute: outcome.dropReply, cut: outcome.dropReply, end: cl.quitting}
}

// execute carries out a command that no fault touched.
func (cl *client) execute(args []string, asking bool) {
	c := cl.cluster
	cmd := c.commands[cl.name]
	switch {
	case cmd == nil || cmd.refuse != nil && cmd.refuse(args):
		cl.unmodelled(args)
		return
	case !cl.authed && !isOneOf(cl.name, "HELLO", "AUTH", "QUIT"):
		cl.fail("NOAUTH Authentication required.")
		return
	case !cl.allowed():
		cl.fail("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
			strings.ToLower(cl.name))
		return
	}
	var touched []string
	if !c.cfg.Standalone {
		var problem string
		if touched, problem = cl.route(cmd, args, asking); problem != "" {
			cl.fail("%s", problem)
			return
		}
	}
	switch {
	case cl.tx.open && cl.name == "WATCH":
		cl.fail("ERR WATCH inside MULTI is not allowed")
	case cl.tx.open && !isOneOf(cl.name, "EXEC", "DISCARD", "MULTI", "QUIT"):
		cl.enqueue(cmd, args)
	case cmd.run != nil:
		cmd.run(cl, args)
	default:
		cl.backend(args)
	}
	c.arrived(touched)
}

// allowed reports whether the command may be given by a client that is subscribed, which matters in RESP2 only.
func (cl *client) allowed() bool {
	c := cl.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return cl.resp3 || len(cl.shard)+len(cl.normal) == 0 ||
		isOneOf(cl.name, "SUBSCRIBE", "UNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE", "PING", "QUIT")
}

// fail replies with an error. A transaction will not be carried out then.
func (cl *client) fail(format string, args ...any) {
	cl.tx.dirty = true
	cl.reply.err(format, args...)
}

// unmodelled fails the test, and the command.
func (cl *client) unmodelled(args []string) {
	cl.cluster.unknown.report(cl.cluster.t, cl.name, args)
	cl.fail("ERR fakecluster does not model this command: %s", strings.Join(args[:min(len(args), shownWords)], " "))
}

// backend has the backend carry out a command.
func (cl *client) backend(args []string) {
	cl.peer.Resp3 = cl.reply.resp3
	cl.cluster.dispatch.Dispatch(cl.peer, args)
	cl.flush()
}

func (cl *client) wrongNumber() {
	cl.fail("ERR wrong number of arguments for '%s' command", strings.ToLower(cl.name))
}

// failed reports whether the reply is an error.
func (cl *client) failed() bool { return bytes.HasPrefix(cl.reply.buf, []byte{'-'}) }

// kindLocked is the client's type as CLIENT KILL TYPE has it.
func (cl *client) kindLocked() string {
	if len(cl.shard)+len(cl.normal) > 0 {
		return "pubsub"
	}
	return "normal"
}
