package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// inspection is what Check looks at.
type inspection struct {
	cfg      *Settings
	channels []string // of the topics that were named

	nodes     []*nodeFacts
	sentinels []*sentinelFacts
}

// nodeFacts is what was seen of one server.
type nodeFacts struct {
	addr string
	err  error // why it cannot be looked at; nil: it answers

	hello   conn.ServerHello // what it said to HELLO
	missing []string         // commands of sharded Pub/Sub that it does not know

	info      map[string]string
	config    map[string]string // of CONFIG GET
	configErr error
	state     map[string]string // of CLUSTER INFO
	view      *cluster.NodeView // nil: no node of a cluster
	nodesText string            // of CLUSTER NODES

	clock     time.Duration // its clock minus ours
	clockErr  time.Duration // by how much that may be wrong
	clockSeen bool

	hidden     []string // commands that may not be used to look at it, and that a transport does without
	denied     []denial
	unknown    []string // commands of which it is not known whether they are permitted
	keysDenied []string // commands that are refused for the keys of last watermarks, as far as that can be seen
}

// denial is what a server does not permit.
type denial struct {
	command string
	channel string // empty: it is about the command
	err     error
}

// sentinelFacts is what was seen of one sentinel.
type sentinelFacts struct {
	addr   string
	err    error
	view   cluster.SentinelView
	quorum error // of SENTINEL CKQUORUM
	asked  bool  // whether quorum is known
}

// maxConcurrent is how many servers are looked at side by side.
const maxConcurrent = 16

// gather looks at the servers that are named, then at those that they know of, until there are no
// more.
func (s *inspection) gather(ctx context.Context) {
	wanted := slices.Clone(s.cfg.Cluster.Addrs)
	if s.cfg.Cluster.Sentinels != nil {
		wanted = s.askSentinels(ctx)
	}
	seen := make(map[string]bool)
	for len(wanted) > 0 {
		var fresh []*nodeFacts
		for _, addr := range wanted {
			if !seen[addr] {
				seen[addr] = true
				fresh = append(fresh, &nodeFacts{addr: addr})
			}
		}
		forEach(fresh, func(n *nodeFacts) { s.cfg.inspect(ctx, n, s.channels) })
		wanted = nil
		for _, n := range fresh {
			s.nodes = append(s.nodes, n)
			if n.view != nil {
				wanted = append(wanted, n.view.Nodes()...)
			}
		}
	}
	s.dropAliases()
}

// dropAliases keeps one of the addresses of a server, the one that the cluster has.
func (s *inspection) dropAliases() {
	announced := make(map[string]bool)
	for _, n := range s.nodes {
		if n.view != nil {
			for _, addr := range n.view.Nodes() {
				announced[addr] = true
			}
		}
	}
	best := make(map[string]*nodeFacts) // by run ID
	for _, n := range s.nodes {
		if id := n.info["run_id"]; id != "" && (best[id] == nil || announced[n.addr] && !announced[best[id].addr]) {
			best[id] = n
		}
	}
	s.nodes = slices.DeleteFunc(s.nodes, func(n *nodeFacts) bool {
		id := n.info["run_id"]
		return id != "" && best[id] != n
	})
}

// forEach calls f for all, a bounded number at a time.
func forEach[T any](all []T, f func(T)) {
	var running sync.WaitGroup
	places := make(chan struct{}, maxConcurrent)
	for _, each := range all {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			f(each)
		})
	}
	running.Wait()
}

// askSentinels looks at the sentinels, and returns the addresses of the servers that they know of.
func (s *inspection) askSentinels(ctx context.Context) []string {
	reach := s.cfg.Cluster.Sentinels
	for _, addr := range s.cfg.Cluster.SentinelAddrs {
		s.sentinels = append(s.sentinels, &sentinelFacts{addr: addr})
	}
	forEach(s.sentinels, func(f *sentinelFacts) { f.inspect(ctx, reach, s.cfg.Cluster.Primary) })
	found := make(map[string]bool)
	for _, f := range s.sentinels {
		if f.err != nil {
			continue
		}
		found[f.view.Primary] = true
		for _, addr := range f.view.Replicas {
			found[addr] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// inspect asks one sentinel.
func (f *sentinelFacts) inspect(ctx context.Context, reach *conn.Settings, primary string) {
	client, err := reach.Dial(ctx, f.addr, conn.NameOpen)
	if err != nil {
		f.err = err
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*reach.CommandTimeout)
	defer cancel()
	if f.view, err = cluster.FetchSentinelView(ctx, client, f.addr, primary); err != nil {
		f.err = reach.Explain(err)
		return
	}
	err = client.Do(ctx, client.B().Arbitrary("SENTINEL", "CKQUORUM").Args(primary).Build()).Error()
	if _, replied := rueidis.IsRedisErr(err); err == nil || replied && conn.Classify(err) == conn.ReplyDenied && !strings.HasPrefix(err.Error(), "NOPERM") {
		f.quorum, f.asked = err, true
	}
}

// inspect asks one server everything.
func (c *Settings) inspect(ctx context.Context, n *nodeFacts, channels []string) {
	client, socket, closeConn, err := c.Cluster.Servers.DialDedicated(ctx, n.addr, conn.NameOpen)
	if err != nil {
		n.err = err
		return
	}
	defer closeConn()
	n.hello = socket.Hello
	ctx, cancel := context.WithTimeout(ctx, 2*c.Cluster.Servers.CommandTimeout)
	defer cancel()
	text, err := conn.TextOf(client.Do(ctx, client.B().Info().Build()))
	if n.noteHidden("info", err); err != nil && len(n.hidden) == 0 {
		n.err = fmt.Errorf("redis: INFO on %s: %w", n.addr, c.Cluster.Servers.ExplainChannel(err, ""))
		return
	}
	n.info = conn.InfoFields(text)
	if err != nil {
		n.info = n.hello.Info()
	}
	if cluster.IsSentinel(n.info, n.hello) {
		n.err = fmt.Errorf("redis: %s is a Sentinel: name it in Config.Sentinel.Addrs", n.addr)
		return
	}
	if n.info["role"] == "" {
		role, _ := conn.NewRoleQuery(client).Again(ctx) // if the connection fails, so does what follows
		n.info["role"] = role.Name()
		n.info["master_host"], n.info["master_port"], _ = net.SplitHostPort(role.Primary) // none is as good
	}
	n.config, n.configErr = client.Do(ctx, client.B().ConfigGet().Parameter(inspectedSettings...).Build()).AsStrMap()
	n.lookAtClock(ctx, client)
	if n.info["cluster_enabled"] == "1" {
		n.lookAtCluster(ctx, client)
	}
	if c.Cluster.Sentinels != nil {
		n.noteDenied("role", "", client.Do(ctx, client.B().Role().Build()).Error())
	}
	c.lookAtPermissions(ctx, n, client, channels)
}

// lookAtClock compares clocks, by the quickest of a few replies.
func (n *nodeFacts) lookAtClock(ctx context.Context, conn rueidis.CoreClient) {
	for range 3 {
		asked := time.Now()
		reply, err := conn.Do(ctx, conn.B().Time().Build()).AsIntSlice()
		took := time.Since(asked)
		n.noteHidden("time", err)
		if err != nil || len(reply) < 2 {
			return
		}
		if n.clockSeen && took/2 >= n.clockErr {
			continue
		}
		theirs := time.Unix(reply[0], reply[1]*int64(time.Microsecond))
		n.clock, n.clockErr, n.clockSeen = theirs.Sub(asked.Add(took/2)), took/2, true
	}
}

// lookAtCluster asks a node for its view of the cluster.
func (n *nodeFacts) lookAtCluster(ctx context.Context, client rueidis.CoreClient) {
	text, err := conn.TextOf(client.Do(ctx, client.B().ClusterInfo().Build()))
	if err == nil {
		n.state = conn.InfoFields(text)
	}
	n.noteHidden("cluster|info", err)
	n.nodesText, err = conn.TextOf(client.Do(ctx, client.B().ClusterNodes().Build()))
	n.noteDenied("cluster|nodes", "", err)
	view, err := cluster.FetchView(ctx, client, n.addr, false)
	n.noteDenied("cluster|slots", "", err)
	if err == nil {
		n.view = &view
	}
}

// noteHidden notes an error that is about permission to look.
func (n *nodeFacts) noteHidden(command string, err error) {
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") && !slices.Contains(n.hidden, command) {
		n.hidden = append(n.hidden, command)
	}
}

// noteMissing notes an error that says that there is no such command.
func (n *nodeFacts) noteMissing(command string, err error) {
	if cluster.UnknownCommand(err) && !slices.Contains(n.missing, command) {
		n.missing = append(n.missing, command)
	}
}

// noteDenied notes an error that is about permission.
func (n *nodeFacts) noteDenied(command, channel string, err error) {
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") {
		if strings.Contains(err.Error(), "command") {
			channel = ""
		}
		same := func(d denial) bool { return d.command == command && d.channel == channel }
		if !slices.ContainsFunc(n.denied, same) {
			n.denied = append(n.denied, denial{command: command, channel: channel, err: err})
		}
	}
}

// controlProbe stands for all channels by which transports talk to each other. Nobody listens to
// it.
var controlProbe = "{" + router.Tag(0) + "}:shardbus:check"

// lookAtPermissions does what a transport does. That another node has the slot (MOVED) is told
// after what is permitted.
func (c *Settings) lookAtPermissions(ctx context.Context, n *nodeFacts, conn rueidis.CoreClient, channels []string) {
	err := conn.Do(ctx, conn.B().Spublish().Channel(controlProbe).Message("check").Build()).Error()
	n.noteDenied("spublish", controlProbe, err)
	n.noteMissing("SPUBLISH", err)
	for _, channel := range append([]string{controlProbe}, channels...) {
		err := conn.Do(ctx, conn.B().Ssubscribe().Channel(channel).Build()).Error()
		n.noteDenied("ssubscribe", channel, err)
		n.noteMissing("SSUBSCRIBE", err)
		if err == nil {
			n.noteDenied("sunsubscribe", channel, conn.Do(ctx, conn.B().Sunsubscribe().Channel(channel).Build()).Error())
		}
	}
	if len(channels) == 0 && !c.Repair {
		return
	}
	// An event must not be published, nor a key written, to find out whether it could be.
	user, err := conn.Do(ctx, conn.B().AclWhoami().Build()).ToString()
	may := func(command string, args ...string) (verdict string) {
		if err == nil {
			verdict, err = conn.Do(ctx, conn.B().AclDryrun().Username(user).Command(command).Arg(args...).Build()).ToString()
		}
		return verdict
	}
	for _, channel := range channels {
		if verdict := may("spublish", channel, "check"); err == nil && verdict != "OK" {
			n.noteDenied("spublish", channel, fmt.Errorf("NOPERM %s", verdict))
		}
	}
	if err != nil {
		if len(channels) > 0 {
			n.unknown = append(n.unknown, "spublish")
		}
		return
	}
	if !c.Repair {
		return
	}
	key := wire.LastKey(0, "check")
	if verdict := may("set", key, "check", "PX", "1"); err == nil && verdict != "OK" {
		n.keysDenied = append(n.keysDenied, "set")
	}
	if verdict := may("get", key); err == nil && verdict != "OK" {
		n.keysDenied = append(n.keysDenied, "get")
	}
}
