package redis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// inBubble runs a test on a fake cluster, on virtual time, for each kind of server: those that keep a slot's channels at
// a hand-over, and those that drop them.
func inBubble(t *testing.T, cfg fakecluster.Config, test func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config)) {
	for _, version := range []string{"7.0.15", "8.0.0"} {
		t.Run(version, func(t *testing.T) {
			cfg.Version = version
			inOneBubble(t, cfg, test)
		})
	}
}

// inOneBubble is inBubble for one server, where nothing changes hands.
func inOneBubble(t *testing.T, cfg fakecluster.Config, test func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config)) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, cfg)
		test(t, c, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
	})
}

// topicAt returns a topic whose channel is in the n-th shard.
func topicAt(c *fakecluster.Cluster, n int) transport.Topic {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("repair.%d", i); c.Shard(router.Slot(name)) == n {
			return transport.Topic{Name: name}
		}
	}
}

// send publishes events one by one, so that a fault between them hits none but what is lost of it.
func (n *node) send(t testing.TB, topic transport.Topic, events int) {
	t.Helper()
	for range events {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		res := n.publish(ctx, transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "x", Payload: []byte(`{"a": 1}`)})
		cancel()
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
}

// deaf makes what is published with f lost: the node publishes it, and its subscribers do not hear it.
func deaf(c *fakecluster.Cluster, topic transport.Topic, f func()) {
	owner := c.PrimaryFor(router.Slot(topic.Name))
	remove := c.Fault(owner, "SSUBSCRIBE", fakecluster.Always(fakecluster.Delay(100*time.Millisecond)))
	c.KillClients(owner, "pubsub")
	f()
	remove()
}

// complete waits until the first n numbers have arrived, and checks that they came in order and nothing is missing.
func (n *node) complete(t testing.TB, topic transport.Topic, last uint64) {
	t.Helper()
	n.await(t, fmt.Sprintf("%d events", last), func() bool { return n.last[topic.Name+"|0|p"] == last })
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.disorder) > 0 || len(n.gaps) > 0 || len(n.events) != int(last) {
		t.Errorf("%d events of %d, gaps %v, disorder %v", len(n.events), last, n.gaps, n.disorder)
	}
}

// TestLostEventsAreRepaired: what was published while a subscriber had no connection arrives in order, before what
// follows; also if nothing follows.
func TestLostEventsAreRepaired(t *testing.T) {
	inBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		sub.complete(t, topic, 3)
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		start := time.Now()
		sub.complete(t, topic, 8)
		if took := time.Since(start); took > 600*time.Millisecond {
			t.Errorf("the tail was repaired after %v", took)
		}
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		time.Sleep(200 * time.Millisecond)
		pub.send(t, topic, 1)
		sub.complete(t, topic, 14)
		if got := sub.Ledger(topic); got.Repaired < 9 || got.Received != 14 || got.Voided+got.Missing != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// suffixed has a fault decide about commands whose first argument ends so.
func suffixed(suffix string, o fakecluster.Outcome) fakecluster.Fault {
	return func(call fakecluster.Call) fakecluster.Outcome {
		if len(call.Args) > 1 && strings.HasSuffix(call.Args[1], suffix) {
			return o
		}
		return fakecluster.Pass()
	}
}

// TestAskedThroughOtherShards: what was lost is repaired while nobody serves the slots it was published on.
func TestAskedThroughOtherShards(t *testing.T) {
	inBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 1)
		sub.complete(t, topic, 1)
		silent := c.Fault(nil, "SPUBLISH", suffixed(":asks", fakecluster.ReplyError("TRYAGAIN not now")))
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		time.Sleep(20 * time.Second) // nothing is given up as long as nobody can be asked
		sub.complete(t, topic, 1)
		c.Kill(c.PrimaryFor(router.Slot(topic.Name)))
		silent()
		start := time.Now()
		sub.complete(t, topic, 6)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestWindowExceeded: what the publisher has forgotten is one gap, told as soon as it was asked for, and the rest comes.
func TestWindowExceeded(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		sub := serve(t, cfg)
		cfg.Repair.Events = 3
		pub := serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 1)
		sub.complete(t, topic, 1)
		deaf(c, topic, func() { pub.send(t, topic, 10) })
		start := time.Now()
		sub.await(t, "the last", func() bool { return sub.last[topic.Name+"|0|p"] == 11 })
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		want := transport.Gap{
			Topic: topic.Name, Publisher: "p", From: 2, To: 8, Count: 7, Kind: transport.Lost, Reason: transport.WindowExceeded,
		}
		if len(sub.gaps) != 1 || len(sub.disorder) > 0 || len(sub.events) != 4 {
			t.Fatalf("%d events, gaps %v", len(sub.events), sub.gaps)
		}
		got := sub.gaps[0]
		if got.Epoch == 0 || got.Since.IsZero() {
			t.Errorf("%+v", got)
		}
		got.Epoch, got.Since = 0, time.Time{}
		if got != want {
			t.Errorf("%+v", got)
		}
	})
}

// TestPublisherGone: of a publisher that ended, or that does not repair, what is missing is told soon.
func TestPublisherGone(t *testing.T) {
	for name, off := range map[string]bool{"it ended": false, "it does not repair": true} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				topic := topicAt(c, 0)
				sub := serve(t, cfg)
				cfg.Repair.Off = off
				pub := serve(t, cfg)
				sub.subscribe(t, topic)
				pub.send(t, topic, 1)
				sub.complete(t, topic, 1)
				deaf(c, topic, func() { pub.send(t, topic, 5) })
				if !off {
					silent := c.Fault(nil, "SPUBLISH", suffixed(":asks", fakecluster.ReplyError("TRYAGAIN not now")))
					time.Sleep(150 * time.Millisecond)
					pub.stop()
					silent()
				}
				start := time.Now()
				sub.await(t, "the gap", func() bool { return len(sub.gaps) > 0 })
				if took := time.Since(start); took > 3*time.Second || sub.gaps[0].Reason != transport.PublisherGone || sub.gaps[0].To != 6 {
					t.Errorf("after %v: %v", took, sub.gaps)
				}
			})
		})
	}
}

// TestControlChannelsForbidden: who may not have an inbox gets events, and is told of what is missing after
// Repair.Timeout.
func TestControlChannelsForbidden(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		c.Fault(nil, "SSUBSCRIBE", suffixed(":inbox", fakecluster.ReplyError("NOPERM No permissions to access a channel")))
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		sub.complete(t, topic, 3)
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		start := time.Now()
		sub.await(t, "the gap", func() bool { return len(sub.gaps) > 0 })
		if took := time.Since(start); took > redis.DefaultRepairTimeout+2*time.Second || sub.gaps[0].Count != 5 {
			t.Errorf("after %v: %v", took, sub.gaps)
		}
		start = time.Now()
		for i := range 20 {
			sub.subscribe(t, transport.Topic{Name: fmt.Sprintf("more.%d", i)})
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("20 subscriptions took %v", took)
		}
	})
}

// TestBaseline: what a publisher sends right after Subscribe has returned is repaired, though nothing was heard of it
// before; also if it is older than the subscription.
func TestBaseline(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		pub.send(t, topic, 3)
		time.Sleep(time.Second)
		sub.subscribe(t, topic)
		deaf(c, topic, func() { pub.send(t, topic, 2) })
		time.Sleep(50 * time.Millisecond)
		sub.await(t, "two events", func() bool { return sub.last[topic.Name+"|0|p"] == 5 })
		if len(sub.events) != 2 || len(sub.gaps) > 0 {
			t.Errorf("%d events, gaps %v", len(sub.events), sub.gaps)
		}
	})
}

// TestBornDuringAnOutage: of a publisher that began while a subscriber heard nothing, all is repaired, once anything of it
// is heard.
func TestBornDuringAnOutage(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		time.Sleep(10 * time.Millisecond)
		deaf(c, topic, func() { pub.send(t, topic, 5) })
		sub.complete(t, topic, 5)
	})
}

// TestPublisherRestarts: another incarnation is another publisher, and numbers from 1.
func TestPublisherRestarts(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		sub := serve(t, cfg)
		sub.subscribe(t, topic)
		for i := range 5 {
			pub := serve(t, cfg)
			for range 3 {
				res := pub.publish(t.Context(), transport.Envelope{Topic: topic.Name, Publisher: fmt.Sprint("p", i), ID: "x"})
				if res.Err != nil {
					t.Fatal(res.Err)
				}
			}
			pub.stop()
		}
		sub.await(t, "all events", func() bool { return len(sub.events) == 15 })
		time.Sleep(5 * time.Second)
		if len(sub.gaps) > 0 || len(sub.disorder) > 0 {
			t.Errorf("gaps %v, disorder %v", sub.gaps, sub.disorder)
		}
	})
}

// TestForgersOnControlChannels: what they send there does no harm, and what they ask for is answered to nobody else.
func TestForgersOnControlChannels(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub, other := serve(t, cfg), serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		time.Sleep(time.Second) // publishers begin to listen when they have something to say
		var channels []string
		for _, call := range c.CommandLog() {
			if strings.EqualFold(call.Args[0], "SSUBSCRIBE") {
				for _, name := range call.Args[1:] {
					if strings.Contains(name, ":shardbus:") {
						channels = append(channels, name)
					}
				}
			}
		}
		if len(channels) < 9 {
			t.Fatalf("control channels %v", channels)
		}
		answer := `{"specversion":"1.0","id":"answer","source":"p","type":"shardbus.answer","data":{"n":%d,"channel":"` + topic.Name +
			`","assigned":99999,"gone":99999,"void":"1-99999","events":[{},1,"x",null,{"specversion":"1.0","id":"1","source":"p","type":"t","sequence":"00000000000000000002"}]}}`
		texts := []string{
			"", "x", "{}", fmt.Sprintf(answer, 0), fmt.Sprintf(answer, 1<<40),
			`{"specversion":"1.0","id":"hello","source":"M2XW4","type":"shardbus.hello","data":{"n":1,"channels":["` + topic.Name + `"]}}`,
			`{"specversion":"1.0","id":"ask","source":"M2XW4","type":"shardbus.ask","data":{"n":1,"streams":[{"channel":"` + topic.Name + `","numbers":"1-18446744073709551613"},{"channel":"none","numbers":"1"},{"channel":"` + topic.Name + `","numbers":"no"}]}}`,
			`{"specversion":"1.0","id":"ask","source":"` + topic.Name + `:inbox","type":"shardbus.ask","data":{"n":1,"streams":[{"channel":"` + topic.Name + `","numbers":"1"}]}}`,
		}
		client, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: cfg.Addrs, DisableCache: true,
			DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
				return c.Dial(ctx, addr)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, channel := range channels {
			for _, text := range texts {
				if err := client.Do(t.Context(), client.B().Spublish().Channel(channel).Message(text).Build()).Error(); err != nil {
					t.Fatal(err)
				}
			}
		}
		pub.send(t, topic, 3)
		deaf(c, topic, func() { pub.send(t, topic, 3) })
		sub.complete(t, topic, 9)
		if len(other.received()) > 0 {
			t.Errorf("who never subscribed got %v", other.received())
		}
	})
}
