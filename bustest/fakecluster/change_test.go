package fakecluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
)

// versions are those on both sides of the change in what becomes of channels.
var versions = []struct {
	version string
	keeps   bool
}{{"7.0.15", true}, {"7.2.1", true}, {"7.2.2", false}, {"8.0.0", false}}

func TestFailOverByVersion(t *testing.T) {
	for _, v := range versions {
		t.Run(v.version, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Config{Replicas: 2, Version: v.version})
			channel := channelAt(t, c, 0)
			slot := router.Slot(channel)
			replicas := c.ReplicasFor(slot)
			old, promoted, other := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, replicas[0].Addr()), connect(t, c.Dial, replicas[1].Addr())
			for _, w := range []*wire{old, promoted, other} {
				w.do("SSUBSCRIBE", channel)
			}
			if got := c.FailOver(c.Shard(slot)); got != replicas[0] || c.PrimaryFor(slot) != got {
				t.Fatalf("promoted %v, want %v", got, replicas[0])
			}
			gone := ">[$sunsubscribe $" + channel + " :0]"
			old.gets(gone)
			other.gets(gone)
			pub := connect(t, c.Dial, replicas[0].Addr())
			if v.keeps {
				pub.want(":1", "SPUBLISH", channel, "x")
				promoted.gets(">[$smessage $" + channel + " $x]")
				return
			}
			promoted.gets(gone)
			pub.want(":0", "SPUBLISH", channel, "x")
			promoted.want(">[$ssubscribe $"+channel+" :1]", "SSUBSCRIBE", channel)
			pub.want(":1", "SPUBLISH", channel, "y")
			promoted.gets(">[$smessage $" + channel + " $y]")
		})
	}
}

func TestMigrationByVersion(t *testing.T) {
	for _, v := range versions {
		t.Run(v.version, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Config{Version: v.version})
			channel := channelAt(t, c, 0)
			slot := router.Slot(channel)
			target := c.Nodes()[1]
			source, early, pub := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, target.Addr()), connect(t, c.Dial, target.Addr())
			source.do("SSUBSCRIBE", channel)
			m := c.BeginMigration(slot, target)
			early.want(fmt.Sprintf("-MOVED %d %s", slot, c.Addrs()[0]), "SSUBSCRIBE", channel)
			if got, want := early.pipeline([]string{"ASKING"}, []string{"SSUBSCRIBE", channel}), "+OK >[$ssubscribe $"+channel+" :1]"; got != want {
				t.Errorf("ASKING: got %s, want %s", got, want)
			}
			nodes := connect(t, c.Dial, c.Addrs()[0]).do("CLUSTER", "NODES")
			if mark := fmt.Sprintf("[%d->-%s]", slot, target.ID()); !strings.Contains(nodes, mark) {
				t.Errorf("CLUSTER NODES lacks %s: %s", mark, nodes)
			}
			m.Finish()
			gone := ">[$sunsubscribe $" + channel + " :0]"
			source.gets(gone)
			if v.keeps {
				pub.want(":1", "SPUBLISH", channel, "x")
				early.gets(">[$smessage $" + channel + " $x]")
				return
			}
			early.gets(gone)
			pub.want(":0", "SPUBLISH", channel, "x")
		})
	}
}

func TestMovedReplica(t *testing.T) {
	for _, v := range versions {
		t.Run(v.version, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: v.version})
			channel := channelAt(t, c, 0)
			replica := c.ReplicasFor(router.Slot(channel))[0]
			sub, pub := connect(t, c.Dial, replica.Addr()), connect(t, c.Dial, c.Addrs()[0])
			sub.do("SSUBSCRIBE", channel)
			c.MoveReplica(replica, c.Nodes()[1])
			pub.do("SPUBLISH", channel, "x")
			want := ""
			if !v.keeps {
				want = ">[$sunsubscribe $" + channel + " :0]"
				sub.gets(want)
				want = "*[$" + channel + " :0]"
			} else {
				want = "*[$" + channel + " :1]"
			}
			sub.want(want, "PUBSUB", "SHARDNUMSUB", channel) // listed, and silent
		})
	}
}

func TestKillFailOverRestart(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
	channel := channelAt(t, c, 0)
	slot := router.Slot(channel)
	primary, replica := c.Nodes()[0], c.ReplicasFor(slot)[0]
	sub, other := connect(t, c.Dial, primary.Addr()), connect(t, c.Dial, c.Addrs()[1])
	sub.do("SSUBSCRIBE", channel)
	atReplica := connect(t, c.Dial, replica.Addr())
	atReplica.do("SSUBSCRIBE", channel)

	c.Kill(primary)
	sub.awaitEnd()
	if _, err := c.Dial(t.Context(), primary.Addr()); err == nil {
		t.Error("a killed node accepts")
	}
	other.want(fmt.Sprintf("-MOVED %d %s", slot, primary.Addr()), "GET", channel)
	// A replica takes SPUBLISH while its primary is dead.
	connect(t, c.Dial, replica.Addr()).want(":1", "SPUBLISH", channel, "x")

	c.FailOver(c.Shard(slot))
	other.want(fmt.Sprintf("-MOVED %d %s", slot, replica.Addr()), "GET", channel)
	c.Restart(primary)
	back := connect(t, c.Dial, primary.Addr())
	if got := back.do("ROLE"); !strings.HasPrefix(got, "*[$slave $") {
		t.Errorf("the old primary's ROLE: %s", got)
	}
	back.do("SSUBSCRIBE", channel)
	connect(t, c.Dial, replica.Addr()).want(":1", "SPUBLISH", channel, "y")
	back.gets(">[$smessage $" + channel + " $y]")
	if primary.IsPrimary() || !replica.IsPrimary() || !strings.Contains(c.String(), "primary of shard 0") {
		t.Errorf("roles: %s", c)
	}
}

func TestPausedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		channel := channelAt(t, c, 0)
		primary, replica := c.Nodes()[0], c.ReplicasFor(router.Slot(channel))[0]
		sub, pub := connect(t, c.Dial, primary.Addr()), connect(t, c.Dial, primary.Addr())
		atReplica := connect(t, c.Dial, replica.Addr())
		sub.do("SSUBSCRIBE", channel)
		c.Pause(primary)
		atReplica.want(":0", "SPUBLISH", channel, "over the bus")
		pub.send("SPUBLISH", channel, "late")
		late := connectPlain(t, c.Dial, primary.Addr()) // accepted
		late.send("PING")
		time.Sleep(time.Minute)
		if frames := sub.await("", func([]string) bool { return true }); len(frames) != 1 || primary.Calls("SPUBLISH") != 0 {
			t.Errorf("a paused node did something: it wrote %q", frames)
		}
		c.Unpause(primary)
		late.gets("+PONG")
		pub.gets(":1")
		sub.gets(">[$smessage $" + channel + " $over the bus]")
		sub.gets(">[$smessage $" + channel + " $late]")
	})
}

func TestRedirectionDuringAMigration(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{})
	key := channelAt(t, c, 0)
	absent := "{" + key + "}absent"
	source, target := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, c.Addrs()[1])
	source.want("+OK", "SET", key, "v")
	m := c.BeginMigration(router.Slot(key), c.Nodes()[1])
	ask, moved := fmt.Sprintf("-ASK %d %s", router.Slot(key), c.Addrs()[1]), fmt.Sprintf("-MOVED %d %s", router.Slot(key), c.Addrs()[0])
	source.want("$v", "GET", key)
	source.want(ask, "GET", absent)
	source.want("-TRYAGAIN Multiple keys request during rehashing of slot", "MGET", key, absent)
	target.want(moved, "GET", absent)
	m.MoveKeys(-1)
	source.want(ask, "GET", key)
	if got := target.pipeline([]string{"ASKING"}, []string{"GET", key}); got != "+OK $v" {
		t.Errorf("ASKING, GET: got %s", got)
	}
	target.want(moved, "GET", key)
	m.Cancel()
	source.want("$v", "GET", key)
	m.Finish() // has ended: does nothing
	source.want("$v", "GET", key)
}

func TestIsolatedPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		channel := channelAt(t, c, 0)
		primary, replica := c.Nodes()[0], c.ReplicasFor(router.Slot(channel))[0]
		sub, pub := connect(t, c.Dial, primary.Addr()), connect(t, c.Dial, primary.Addr())
		sub.do("SSUBSCRIBE", channel)
		c.Isolate(primary)
		pub.want("+OK", "SET", channel, "v")
		connect(t, c.Dial, replica.Addr()).want(":0", "SPUBLISH", channel, "early, to the others")
		c.FailOverTo(replica)
		time.Sleep(fakecluster.DefaultNodeTimeout)
		if got := pub.do("CLUSTER", "INFO"); !strings.Contains(got, "cluster_state:fail") {
			t.Errorf("CLUSTER INFO: %s", got)
		}
		pub.want("-CLUSTERDOWN The cluster is down", "GET", channel)
		pub.want(":1", "SPUBLISH", channel, "to its own")
		sub.gets(">[$smessage $" + channel + " $to its own]")
		connect(t, c.Dial, replica.Addr()).want(":0", "SPUBLISH", channel, "to the others")
		synctest.Wait()
		if frames := strings.Join(sub.await("", func([]string) bool { return true }), " "); strings.Contains(frames, "to the others") {
			t.Errorf("an isolated node heard of it: %s", frames)
		}
		c.Rejoin(primary)
		sub.gets(">[$sunsubscribe $" + channel + " :0]")
		pub.want(fmt.Sprintf("-MOVED %d %s", router.Slot(channel), replica.Addr()), "GET", channel)
	})
}

func TestDownWithoutAPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1, FailOverAfter: 5 * time.Second})
		channel := channelAt(t, c, 0)
		other := connect(t, c.Dial, c.Addrs()[1])
		key := channelAt(t, c, 1)
		c.Kill(c.Nodes()[0])
		other.want("_", "GET", key)
		time.Sleep(fakecluster.DefaultNodeTimeout)
		other.want("-CLUSTERDOWN The cluster is down", "GET", key)
		other.want(":0", "SPUBLISH", key, "x") // cluster-allow-pubsubshard-when-down
		time.Sleep(4 * time.Second)            // FailOverAfter has passed
		other.want("_", "GET", key)
		if p := c.PrimaryFor(router.Slot(channel)); p != c.Nodes()[3] {
			t.Errorf("the primary is %v, want its replica", p)
		}
		c.Unassign(router.Slot(key))
		other.want("-CLUSTERDOWN Hash slot not served", "GET", key)
	})
}

func TestFaults(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{})
	channel := channelAt(t, c, 0)
	node := c.Nodes()[0]
	w, sub := connect(t, c.Dial, node.Addr()), connect(t, c.Dial, node.Addr())
	sub.do("SSUBSCRIBE", channel)
	remove := c.Fault(node, "spublish", fakecluster.Times(1, fakecluster.ReplyError("NOPERM no")))
	w.want("-NOPERM no", "SPUBLISH", channel, "x")
	w.want(":1", "SPUBLISH", channel, "x")
	remove()

	remove = c.Fault(node, "SPUBLISH", fakecluster.Always(fakecluster.DropReply()))
	w.send("SPUBLISH", channel, "carried out")
	w.awaitEnd()
	sub.gets(">[$smessage $" + channel + " $carried out]")
	remove()

	remove = c.Fault(nil, "SPUBLISH", fakecluster.Always(fakecluster.Drop()))
	w = connect(t, c.Dial, node.Addr())
	w.send("SPUBLISH", channel, "never")
	w.awaitEnd()
	remove()
	connect(t, c.Dial, node.Addr()).want(":1", "SPUBLISH", channel, "last")
	sub.gets(">[$smessage $" + channel + " $last]")
	sub.await("no more", func(frames []string) bool {
		return !strings.Contains(strings.Join(frames, ""), "never")
	})

	if got := node.Calls("SPUBLISH"); got != 5 || c.Calls("spublish") != 5 {
		t.Errorf("%d calls of SPUBLISH, want 5", got)
	}
	log := c.CommandLog()
	if last := log[len(log)-2]; last.Args[0] != "SPUBLISH" || last.Args[2] != "last" || last.Number != 5 || last.Node != node {
		t.Errorf("the log's last but PING: %+v", last)
	}
	if n := c.KillClients(node, "pubsub"); n != 1 {
		t.Errorf("killed %d subscribers, want 1", n)
	}
	sub.awaitEnd()
}

func TestHangAndDelayAndLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		node := c.Nodes()[0]
		took := func(w *wire) time.Duration {
			begun := time.Now()
			w.do("PING")
			return time.Since(begun)
		}
		w := connect(t, c.Dial, node.Addr())
		c.Latency(node, 7*time.Millisecond)
		if d := took(w); d != 7*time.Millisecond { // two commands in one pipeline
			t.Errorf("took %v, want 7 ms", d)
		}
		c.Latency(node, 0)
		remove := c.Fault(node, "PING", fakecluster.Times(1, fakecluster.Delay(20*time.Second)))
		if d := took(w); d != 20*time.Second {
			t.Errorf("took %v, want 20 s", d)
		}
		remove()
		c.Fault(node, "PING", fakecluster.Times(1, fakecluster.Hang()))
		w.send("PING")
		time.Sleep(time.Hour)
		if frames := w.await("", func([]string) bool { return true }); strings.Count(strings.Join(frames, ""), "PONG") != 2 {
			t.Errorf("got %q", frames)
		}
		connect(t, c.Dial, node.Addr()).want("+PONG", "PING")
	})
}

func TestMisuseFailsTheTest(t *testing.T) {
	tb := &fakeTB{TB: t}
	c := fakecluster.New(tb, fakecluster.Config{})
	for name, misuse := range map[string]func(){
		"FailOver without a replica": func() { c.FailOver(0) },
		"FailOver of no shard":       func() { c.FailOver(3) },
		"FailOverTo a primary":       func() { c.FailOverTo(c.Nodes()[0]) },
		"Restart of what runs":       func() { c.Restart(c.Nodes()[0]) },
		"a migration to the owner":   func() { c.BeginMigration(0, c.PrimaryFor(0)) },
		"a slot that is none":        func() { c.MigrateSlot(router.Slots, c.Nodes()[0]) },
		"slots that are none":        func() { c.MigrateSlots(0, router.Slots, c.Nodes()[0]) },
		"a kind that is none":        func() { c.KillClients(c.Nodes()[0], "slow") },
	} {
		before := len(tb.got())
		misuse()
		if len(tb.got()) != before+1 {
			t.Errorf("%s: %d errors, want 1", name, len(tb.got())-before)
		}
	}
}

func TestUnmodelled(t *testing.T) {
	tb := &fakeTB{TB: t}
	c := fakecluster.New(tb, fakecluster.Config{})
	key := channelAt(t, c, 0)
	w := connect(t, c.Dial, c.Addrs()[0])
	for i, args := range [][]string{
		{"XINFO", "GROUPS", key}, {"DEBUG", "SLEEP", "1"}, {"CLIENT", "CACHING", "YES"}, {"XADD", key, "MAXLEN", "~", "5", "LIMIT", "3", "*", "f", "v"},
		{"XCLAIM", key, "g", "c", "0", "1-1"}, {"EVAL", "return redis.call('XSETID', KEYS[1], '1-1')", "1", key},
	} {
		for range 2 { // the test fails at the first, and only then
			if got := w.do(args...); !strings.HasPrefix(got, "-") {
				t.Errorf("%q: got %s, want an error", args, got)
			}
			if len(tb.got()) != i+1 {
				t.Fatalf("%q: %d errors, want %d", args, len(tb.got()), i+1)
			}
		}
		if got := tb.got(); len(got) != i+1 || i != 5 && !strings.Contains(got[i], fmt.Sprintf("%q", args)) {
			t.Fatalf("%q: the test failed with %q", args, got)
		}
	}
	w.want("$1-1", "XADD", key, "MAXLEN", "~", "5", "1-1", "LIMIT", "v") // a field, not an option
}

func TestDialEnds(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Dial(ctx, c.Addrs()[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.Close()
	c.Close()
	if _, err := c.Dial(t.Context(), c.Addrs()[0]); err == nil {
		t.Error("a closed cluster accepts")
	}
}
