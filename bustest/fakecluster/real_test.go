package fakecluster_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
)

// stage is a cluster that a script is played on: the fake, or real servers.
type stage struct {
	t          *testing.T
	dial       func(context.Context, string) (net.Conn, error)
	names      *strings.Replacer // addresses to roles
	at         map[string]string // roles to addresses
	drops      bool              // from 7.2.2 on: whoever takes over a slot starts without subscribers
	migrate    func(slot int, to string) migration
	failOver   func(replica string)
	wires      map[string]*wire
	transcript []string
}

// migration is what both kinds of migrations have in common here.
type migration struct{ moveKeys, finish func() }

// roles names the nodes by what they are to a slot, and to that of "there".
func (s *stage) roles(at map[string]string) {
	s.at, s.wires = at, make(map[string]*wire)
	var pairs []string
	for role, addr := range at {
		pairs = append(pairs, addr, "<"+role+">")
	}
	s.names = strings.NewReplacer(pairs...)
}

// wire is the connection of a name: "primary.sub" is one to the primary.
func (s *stage) wire(name string) *wire {
	if s.wires[name] == nil {
		role, _, _ := strings.Cut(name, ".")
		s.wires[name] = connect(s.t, s.dial, s.at[role])
	}
	return s.wires[name]
}

// do notes what a command is answered.
func (s *stage) do(name string, args ...string) {
	s.t.Helper()
	got := s.names.Replace(s.wire(name).do(args...))
	s.transcript = append(s.transcript, name+": "+strings.Join(args, " ")+"\n\t"+got)
}

// pipe notes what several commands sent at once are answered.
func (s *stage) pipe(name string, lines ...string) {
	s.t.Helper()
	var commands [][]string
	for _, line := range lines {
		commands = append(commands, strings.Fields(line))
	}
	got := s.names.Replace(s.wire(name).pipeline(commands...))
	s.transcript = append(s.transcript, name+": "+strings.Join(lines, ", ")+"\n\t"+got)
}

// sees notes that a message comes by itself.
func (s *stage) sees(name, frame string) {
	s.t.Helper()
	s.wire(name).gets(frame)
	s.transcript = append(s.transcript, name+" sees "+frame)
}

// again subscribes again where whoever took over a slot has dropped its subscribers.
func (s *stage) again(name, channel string) {
	s.t.Helper()
	if s.drops {
		s.sees(name, ">[$sunsubscribe $"+channel+" :0]")
		s.do(name, "SSUBSCRIBE", channel)
	}
}

// all notes everything that has arrived at a connection.
func (s *stage) all(name string) {
	w := s.wire(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	s.transcript = append(s.transcript, name+" has got "+s.names.Replace(strings.Join(w.frames, "\n\t")))
}

// play is the script. "here" is a channel whose slot is served by primary and replica, and moves to target.
func (s *stage) play() {
	const here, log = "here", "{here}:log"
	there := channelOutside

	// Sharded Pub/Sub.
	s.do("primary.sub", "SSUBSCRIBE", here)
	s.do("replica.sub", "SSUBSCRIBE", here)
	s.do("target.sub", "SSUBSCRIBE", here)
	s.do("target.pub", "SPUBLISH", here, "x")
	s.do("target.pub", "SUNSUBSCRIBE", here)
	s.do("primary.sub", "SSUBSCRIBE", here)
	s.do("primary.pub", "SSUBSCRIBE", here, there)
	s.do("primary.pub", "SPUBLISH", here)
	s.do("primary.pub", "SPUBLISH", here, "one")
	s.sees("primary.sub", ">[$smessage $here $one]")
	s.sees("replica.sub", ">[$smessage $here $one]")
	s.do("replica.pub", "SPUBLISH", here, "two")
	s.sees("primary.sub", ">[$smessage $here $two]")
	s.sees("replica.sub", ">[$smessage $here $two]")
	s.do("primary.sub", "SPUBLISH", here, "own")
	s.sees("replica.sub", ">[$smessage $here $own]")
	s.do("primary.pub", "PUBSUB", "SHARDNUMSUB", here, there)
	s.do("primary.pub", "PUBSUB", "SHARDCHANNELS")
	s.do("primary.pub", "PUBSUB", "CHANNELS")
	s.do("primary.other", "SUNSUBSCRIBE")
	s.do("primary.other", "SUNSUBSCRIBE", here)
	s.do("primary.other", "SUBSCRIBE", "news")
	s.do("target.pub", "PUBLISH", "news", "everywhere")
	s.sees("primary.other", ">[$message $news $everywhere]")
	s.do("primary.other", "UNSUBSCRIBE")

	// Keys, and where they are not.
	s.do("primary.pub", "SET", here, "v")
	s.do("target.pub", "GET", here)
	s.do("replica.pub", "GET", here)
	s.do("replica.pub", "READONLY")
	s.do("replica.pub", "SET", here, "w")
	s.do("replica.pub", "READWRITE")
	s.do("primary.pub", "MGET", here, there)
	s.do("primary.pub", "XLEN", here)
	s.do("primary.pub", "XADD", log, "1-1", "f", "v")
	s.do("primary.pub", "EVAL", "return redis.call('SPUBLISH', ARGV[1], 'script')", "1", log, here)
	s.sees("primary.sub", ">[$smessage $here $script]")
	s.sees("replica.sub", ">[$smessage $here $script]")
	s.do("primary.pub", "EVAL", "return redis.pcall('SPUBLISH', ARGV[1], 'x').err and 1 or 0", "1", log, there)
	s.pipe("primary.pub", "MULTI", "SPUBLISH here multi", "XADD {here}:log 2-1 f v", "EXEC")
	s.sees("primary.sub", ">[$smessage $here $multi]")
	s.sees("replica.sub", ">[$smessage $here $multi]")
	s.do("primary.sub", "EVAL", "redis.call('SPUBLISH', ARGV[1], 'own-script') return 'done'", "1", log, here)
	s.pipe("primary.pub", "MULTI", "GET "+there, "EXEC")
	s.pipe("primary.pub", "MULTI", "GET", "EXEC")
	s.do("primary.pub", "EXEC")
	s.do("primary.pub", "SELECT", "1")
	s.do("primary.pub", "CLUSTER", "KEYSLOT", here)

	// Small talk.
	for _, line := range []string{
		"CLIENT SETINFO LIB-NAME x", "CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME", "CLIENT NO-EVICT ON", "CLIENT TRACKING ON OPTIN",
		"CLIENT TRACKING OFF", "ACL WHOAMI", "HELLO 9", "HELLO 3 NONSENSE", "AUTH x", "AUTH a b c", "PING a b", "PING a", "SELECT 0", "WAIT 1 1000", "WAIT x 0",
		"DISCARD", "SSUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE none", "PUBSUB NUMSUB news none", "CLUSTER COUNTKEYSINSLOT 99999", "CLUSTER COUNTKEYSINSLOT 16050",
		"XLEN {here}none", "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 here", "SCRIPT LOAD", "SCRIPT LOAD a b", "SCRIPT EXISTS", "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db none",
		"EVALSHA 62f1f5ed3dd3f7e5cb4df8a1a2a3c8f0c6e8b1e1 0", "EVAL x", "GET", "ECHO x", "TYPE here", "SUNSUBSCRIBE none-here",
	} {
		s.do("primary.talk", strings.Fields(line)...)
	}
	s.do("replica.talk", "WAIT", "1", "0")
	s.pipe("primary.talk", "MULTI", "MULTI", "WATCH here", "PING", "SPUBLISH here", "DISCARD", "EXEC")
	s.pipe("primary.talk", "WATCH here", "SET here w", "MULTI", "GET here", "EXEC")
	s.do("target.pub", "SCRIPT", "LOAD", "return 1")

	// A migration.
	slot := router.Slot(here)
	m := s.migrate(slot, s.at["target"])
	s.do("target.sub", "SSUBSCRIBE", here)
	s.pipe("target.sub", "ASKING", "SSUBSCRIBE here")
	s.do("target.sub", "SSUBSCRIBE", here) // ASKING is for one command
	s.do("primary.pub", "SPUBLISH", here, "migrating")
	s.do("primary.pub", "GET", here)
	s.do("primary.pub", "GET", "{here}absent")
	s.do("primary.pub", "MGET", here, "{here}absent")
	s.do("target.pub", "GET", "{here}absent")
	s.pipe("target.pub", "ASKING", "GET {here}absent")
	s.pipe("target.pub", "ASKING", "SET {here}new v")
	s.pipe("target.pub", "ASKING", "MGET {here}new {here}absent")
	s.do("primary.pub", "GET", "{here}new")
	s.do("primary.pub", "CLUSTER", "COUNTKEYSINSLOT", "13190")
	m.moveKeys()
	s.do("primary.pub", "GET", here)
	m.finish()
	s.sees("primary.sub", ">[$sunsubscribe $here :0]")
	s.sees("replica.sub", ">[$sunsubscribe $here :0]")
	s.do("primary.pub", "SPUBLISH", here, "x")
	s.do("primary.pub", "GET", here)
	s.do("target.pub", "GET", here)
	s.again("target.sub", here)
	s.do("standby.sub", "SSUBSCRIBE", here)
	s.do("target.pub", "SPUBLISH", here, "moved")
	s.sees("target.sub", ">[$smessage $here $moved]")
	s.sees("standby.sub", ">[$smessage $here $moved]")

	// A fail-over of the shard that has it now.
	s.failOver(s.at["standby"])
	s.again("standby.sub", here)
	s.do("standby.pub", "SPUBLISH", here, "after the fail-over")
	s.sees("target.sub", ">[$sunsubscribe $here :0]")
	s.sees("standby.sub", ">[$smessage $here $after the fail-over]")
	s.do("target.pub", "SPUBLISH", here, "at the old one")
	s.sees("standby.sub", ">[$smessage $here $at the old one]")
	s.do("target.pub", "GET", here)
	s.do("standby.pub", "GET", here)
	s.do("standby.pub", "PUBSUB", "SHARDNUMSUB", here)
	s.do("standby.pub", "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "1", here)
	for _, name := range []string{"primary.sub", "replica.sub", "target.sub", "standby.sub"} {
		s.all(name)
	}
}

// channelOutside is in a slot of another shard than "here", and than where that moves.
const channelOutside = "outside"

// dropping reports whether a version is 7.2.2 or later.
func dropping(t *testing.T, version string) bool {
	t.Helper()
	var v redistest.Version
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v.Major, &v.Minor, &v.Patch); err != nil {
		t.Fatal(err)
	}
	return v.AtLeast(7, 2, 2)
}

// playFake plays the script on the fake.
func playFake(t *testing.T, version string) []string {
	t.Helper()
	c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: version})
	primary := c.PrimaryFor(router.Slot("here"))
	target, standby := otherThan(t, c, primary)
	s := &stage{t: t, dial: c.Dial, drops: dropping(t, version)}
	s.roles(map[string]string{
		"primary": primary.Addr(), "replica": c.ReplicasFor(router.Slot("here"))[0].Addr(),
		"target": target.Addr(), "standby": standby.Addr(), "outside": c.PrimaryFor(router.Slot(channelOutside)).Addr(),
	})
	s.migrate = func(slot int, to string) migration {
		m := c.BeginMigration(slot, c.Node(to))
		return migration{moveKeys: func() { m.MoveKeys(-1) }, finish: m.Finish}
	}
	s.failOver = func(replica string) { c.FailOverTo(c.Node(replica)) }
	s.play()
	return s.transcript
}

// otherThan returns the primary, and its replica, of the shard that has neither "here" nor the channel outside.
func otherThan(t *testing.T, c *fakecluster.Cluster, primary *fakecluster.Node) (target, standby *fakecluster.Node) {
	t.Helper()
	for slot := range router.Slots {
		if p := c.PrimaryFor(slot); p != primary && p != c.PrimaryFor(router.Slot(channelOutside)) {
			return p, c.ReplicasFor(slot)[0]
		}
	}
	t.Fatal("there is no third shard")
	return nil, nil
}

// playReal plays the script on real servers.
func playReal(t *testing.T, version string) []string {
	t.Helper()
	c := redistest.NewCluster(t, redistest.ClusterConfig{Replicas: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := func(key string) *redistest.Server {
		p, err := c.PrimaryForKey(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	replicaOf := func(p *redistest.Server) *redistest.Server {
		replicas, err := c.Replicas(ctx, p)
		if err != nil || len(replicas) != 1 {
			t.Fatalf("replicas %v, %v", replicas, err)
		}
		return replicas[0]
	}
	primaries, err := c.Primaries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	primary, outside := at("here"), at(channelOutside)
	target := primaries[slices.IndexFunc(primaries, func(p *redistest.Server) bool { return p != primary && p != outside })]
	s := &stage{t: t, drops: dropping(t, version), dial: func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}}
	s.roles(map[string]string{
		"primary": primary.Addr(), "replica": replicaOf(primary).Addr(),
		"target": target.Addr(), "standby": replicaOf(target).Addr(), "outside": outside.Addr(),
	})
	s.migrate = func(slot int, to string) migration {
		m, err := c.BeginMigration(ctx, slot, c.Node(to))
		if err != nil {
			t.Fatal(err)
		}
		return migration{
			moveKeys: func() {
				for {
					if n, err := m.MoveKeys(ctx, 100); err != nil || n == 0 {
						if err != nil {
							t.Fatal(err)
						}
						return
					}
				}
			},
			finish: func() {
				if err := m.Finish(ctx); err != nil {
					t.Fatal(err)
				}
				if err := c.WaitHealthy(ctx); err != nil { // replicas learn of it later
					t.Fatal(err)
				}
			},
		}
	}
	s.failOver = func(replica string) {
		if err := c.FailOver(ctx, c.Node(replica), redistest.Graceful); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitHealthy(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s.play()
	info, err := primary.Do(ctx, "INFO", "server")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(fmt.Sprint(info), "valkey_version:") {
		for i, step := range s.transcript {
			s.transcript[i] = wordsOfValkey.Replace(step)
		}
	}
	return s.transcript
}

// wordsOfValkey are the errors that Valkey words in its own way. The fake speaks as Redis does.
var wordsOfValkey = strings.NewReplacer(
	"-ERR DB index is out of range", "-ERR SELECT is not allowed in cluster mode",
	"-NOSCRIPT No matching script. Please use EVAL.", "-NOSCRIPT No matching script. Please use EVAL.",
	"-NOSCRIPT No matching script.", "-NOSCRIPT No matching script. Please use EVAL.",
	"Please also note that if a replica", "Please also note that since Redis 4.0 if a replica",
	"-ERR Command 'multi' not allowed inside a transaction", "-ERR MULTI calls can not be nested",
	"-ERR Command not allowed inside a transaction -ERR Command not allowed inside a transaction",
	"-ERR MULTI calls can not be nested -ERR WATCH inside MULTI is not allowed",
	"-ERR Command 'watch' not allowed inside a transaction", "-ERR WATCH inside MULTI is not allowed",
)

// TestLikeARealCluster plays one script on real servers and on the fake of their version, and compares every word.
func TestLikeARealCluster(t *testing.T) {
	redistest.Require(t)
	v, err := redistest.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	want := playReal(t, v.String())
	got := playFake(t, v.String())
	for i := range max(len(want), len(got)) {
		w, g := "", ""
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Errorf("step %d:\nreal: %s\nfake: %s", i, w, g)
		}
	}
}
