package fakecluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
)

func TestShardedPubSub(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Primaries: 3, Replicas: 1})
	channel := channelAt(t, c, 0)
	slot := router.Slot(channel)
	primary, other, replica := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, c.Addrs()[1]), connect(t, c.Dial, c.Addrs()[3])

	moved := fmt.Sprintf("-MOVED %d %s", slot, c.Addrs()[0])
	other.want(moved, "SSUBSCRIBE", channel)
	other.want(moved, "SPUBLISH", channel, "x")
	other.want(moved, "SUNSUBSCRIBE", channel)
	primary.want(":0", "SPUBLISH", channel, "nobody")
	primary.want(">[$ssubscribe $"+channel+" :1]", "SSUBSCRIBE", channel)
	replica.want(">[$ssubscribe $"+channel+" :1]", "SSUBSCRIBE", channel)
	if n := c.Subscribers(channel); n != 2 {
		t.Errorf("%d subscribers, want 2", n)
	}

	publisher := connect(t, c.Dial, c.Addrs()[0])
	publisher.want(":1", "SPUBLISH", channel, "at the primary")
	primary.gets(">[$smessage $" + channel + " $at the primary]")
	replica.gets(">[$smessage $" + channel + " $at the primary]")
	atReplica := connect(t, c.Dial, c.Addrs()[3])
	atReplica.want(":1", "SPUBLISH", channel, "at the replica")
	primary.gets(">[$smessage $" + channel + " $at the replica]")
	replica.gets(">[$smessage $" + channel + " $at the replica]")
	primary.want(">[$smessage $"+channel+" $own] :1", "SPUBLISH", channel, "own")

	publisher.want("*[$"+channel+"]", "PUBSUB", "SHARDCHANNELS")
	publisher.want("*[$"+channel+" :1 $none :0]", "PUBSUB", "SHARDNUMSUB", channel, "none")
	primary.want(">[$sunsubscribe $"+channel+" :0]", "SUNSUBSCRIBE", channel)
	primary.want(">[$sunsubscribe _ :0]", "SUNSUBSCRIBE")
	publisher.want(":0", "SPUBLISH", channel, "nobody")
	publisher.want("-CROSSSLOT Keys in request don't hash to the same slot", "SSUBSCRIBE", "a", "b")
	publisher.want("-ERR wrong number of arguments for 'spublish' command", "SPUBLISH", channel)
}

func TestPublishReachesAllNodes(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{})
	for _, addr := range c.Addrs() {
		w := connect(t, c.Dial, addr)
		w.want(">[$subscribe $news :1]", "SUBSCRIBE", "news")
		defer w.gets(">[$message $news $hello]")
	}
	connect(t, c.Dial, c.Addrs()[0]).want(":1", "PUBLISH", "news", "hello")
}

func TestRESP2SubscriberMayOnlySubscribe(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Standalone: true})
	w := connectPlain(t, c.Dial, c.Addrs()[0])
	w.send("SSUBSCRIBE", "a", "b") // two slots: no cluster
	w.send("GET", "a")
	w.send("PING")
	frames := w.await("four replies", func(frames []string) bool { return len(frames) == 4 })
	got := strings.Join(frames, " ")
	want := "*[$ssubscribe $a :1] *[$ssubscribe $b :2] -ERR Can't execute 'get': only (P|S)SUBSCRIBE / " +
		"(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context *[$pong $]"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestSPublishInScriptsAndTransactions(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
	channel, foreign := channelAt(t, c, 0), channelAt(t, c, 1)
	sub, pub := connect(t, c.Dial, c.Addrs()[3]), connect(t, c.Dial, c.Addrs()[0])
	sub.do("SSUBSCRIBE", channel)

	log := "{" + channel + "}:log"
	const script = `local id = redis.call('XADD', KEYS[1], '5-1', 'f', 'v') redis.call('SPUBLISH', ARGV[1], id) return id`
	pub.want("$5-1", "EVAL", script, "1", log, channel)
	sub.gets(">[$smessage $" + channel + " $5-1]")
	pub.want(":1", "XLEN", log)
	if got := pub.do("EVAL", `return redis.call('SPUBLISH', ARGV[1], 'x')`, "1", log, foreign); !strings.Contains(got, "non local key") {
		t.Errorf("SPUBLISH of a script to another shard: got %s", got)
	}
	if got := pub.do("EVAL", `return redis.call('SET', ARGV[1], 'x')`, "1", log, foreign); !strings.Contains(got, "non local key") {
		t.Errorf("SET of a script in another shard: got %s", got)
	}
}

func TestTransactions(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{})
	channel, foreign := channelAt(t, c, 0), channelAt(t, c, 1)
	sub, pub := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, c.Addrs()[0])
	sub.do("SSUBSCRIBE", channel)
	log := "{" + channel + "}:log"

	pub.send("MULTI")
	pub.send("SPUBLISH", channel, "in a transaction")
	pub.send("XADD", log, "6-1", "f", "v")
	pub.send("EXEC")
	frames := pub.await("the transaction", func(frames []string) bool { return len(frames) == 4 })
	if got, want := strings.Join(frames, " "), "+OK +QUEUED +QUEUED *[:1 $6-1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	sub.gets(">[$smessage $" + channel + " $in a transaction]")

	pub.send("MULTI")
	pub.send("GET", foreign)
	pub.send("EXEC")
	frames = pub.await("the transaction", func(frames []string) bool { return len(frames) == 7 })
	if got := strings.Join(frames[4:], " "); !strings.HasPrefix(got, "+OK -MOVED") || !strings.HasSuffix(got, "-EXECABORT Transaction discarded because of previous errors.") {
		t.Errorf("got %s", got)
	}
	pub.want("_", "GET", channel)
}
