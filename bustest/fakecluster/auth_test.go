package fakecluster_test

import (
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bustest/fakecluster"
)

func TestPassword(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Password: "secret"})
	w := connectPlain(t, c.Dial, c.Addrs()[0])
	w.send("GET", "x")
	w.gets("-NOAUTH Authentication required.")
	w.send("HELLO", "3", "AUTH", "default", "wrong")
	w.gets("-WRONGPASS invalid username-password pair or user is disabled.")
	w.send("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me")
	w.await("HELLO's reply", func(frames []string) bool { return strings.HasPrefix(frames[len(frames)-1], "%[$server $redis") })
	w.want("$me", "CLIENT", "GETNAME")
	if got := w.do("CLIENT", "LIST"); !strings.Contains(got, "name=me") {
		t.Errorf("CLIENT LIST: %s", got)
	}
}

func TestIntroductions(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: "8.0.0"})
	w, replica := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, c.Addrs()[3])
	for _, part := range []struct{ command, want string }{
		{"INFO", "redis_version:8.0.0"}, {"INFO cluster", "cluster_enabled:1"}, {"INFO replication", "connected_slaves:1"},
		{"CLUSTER INFO", "cluster_state:ok"}, {"CLUSTER MYID", c.Nodes()[0].ID()}, {"CLUSTER NODES", "myself,master - 0 0 1 connected 0-5461"},
		{"CLUSTER SHARDS", "%[$slots *[:0 :5461] $nodes *[%[$id $" + c.Nodes()[0].ID() + " $port :6379 $ip $192.0.2.1"},
		{"CLUSTER SLOTS", "*[*[:0 :5461 *[$192.0.2.1 :6379 $" + c.Nodes()[0].ID() + " *[]] *[$192.0.2.4"},
		{"CLUSTER KEYSLOT foo", ":12182"}, {"ROLE", "*[$master :0 *[*[$192.0.2.4 $6379 $0]]]"}, {"ACL WHOAMI", "$default"}, {"CLIENT SETINFO LIB-NAME x", "+OK"},
		{"WAIT 1 0", ":1"}, {"SELECT 1", "-ERR SELECT is not allowed in cluster mode"}, {"CLIENT TRACKING ON OPTIN", "+OK"},
	} {
		if got := w.do(strings.Fields(part.command)...); !strings.Contains(got, part.want) {
			t.Errorf("%s: got %s, want it to contain %s", part.command, got, part.want)
		}
	}
	if got := replica.do("INFO", "replication"); !strings.Contains(got, "role:slave") {
		t.Errorf("a replica's INFO: %s", got)
	}
	alone := fakecluster.New(t, fakecluster.Config{Standalone: true})
	w = connect(t, alone.Dial, alone.Addrs()[0])
	w.want("-ERR This instance has cluster support disabled", "CLUSTER", "SLOTS")
	w.want(":0", "SPUBLISH", "nobody", "x")
}

func TestScriptsAreOfOneNode(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
	key := channelAt(t, c, 0)
	w := connect(t, c.Dial, c.Addrs()[0])
	const sum = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" // of return 1
	w.want("-NOSCRIPT No matching script. Please use EVAL.", "EVALSHA", sum, "1", key)
	w.want("$"+sum, "SCRIPT", "LOAD", "return 1")
	w.want(":1", "EVALSHA", sum, "1", key)
	if got := w.pipeline([]string{"MULTI"}, []string{"EVALSHA", sum, "1", key}, []string{"EXEC"}); got != "+OK +QUEUED *[:1]" {
		t.Errorf("in a transaction: %s", got)
	}
	c.FailOver(0)
	w = connect(t, c.Dial, c.Addrs()[3])
	w.want("*[:0]", "SCRIPT", "EXISTS", sum)
	w.want("-NOSCRIPT No matching script. Please use EVAL.", "EVALSHA", sum, "1", key)
	w.want(":1", "EVAL", "return 1", "1", key)
	w.want("*[:1]", "SCRIPT", "EXISTS", sum)
	c.Kill(c.Nodes()[3])
	c.Restart(c.Nodes()[3])
	connect(t, c.Dial, c.Addrs()[3]).want("*[:0]", "SCRIPT", "EXISTS", sum)
}

func TestConfigThatMakesNoSense(t *testing.T) {
	for _, cfg := range []fakecluster.Config{
		{Version: "6.2.0"}, {Version: "7"}, {Version: "a.b.c"}, {Primaries: -1}, {Primaries: 100, Replicas: 2}, {NodeTimeout: -1},
	} {
		tb := &fatalTB{fakeTB: fakeTB{TB: t}}
		func() {
			defer func() { _ = recover() }()
			fakecluster.New(tb, cfg)
		}()
		if !tb.fatal {
			t.Errorf("%+v: the test goes on", cfg)
		}
	}
}

// fatalTB is a test that notes Fatalf.
type fatalTB struct {
	fakeTB
	fatal bool
}

func (f *fatalTB) Fatalf(string, ...any) {
	f.fatal = true
	panic("fatal")
}
