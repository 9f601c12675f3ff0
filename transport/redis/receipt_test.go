package redis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestRepeatedIsTold: an event that the server accepted before its connection broke is sent again, arrives once, and is
// marked; one that the server refused for a while is not.
func TestRepeatedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		n := serve(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, ProbeInterval: -1})
		n.subscribe(t, transport.Topic{Name: "orders"})
		for i, f := range []struct {
			fault    fakecluster.Fault
			repeated bool
		}{
			{fakecluster.Always(fakecluster.Pass()), false},
			{fakecluster.Times(1, fakecluster.DropReply()), true},
			{fakecluster.Times(2, fakecluster.ReplyError("CLUSTERDOWN The cluster is down")), false},
			{fakecluster.Times(1, fakecluster.Drop()), true},
			{fakecluster.Times(1, fakecluster.Hang()), true},
		} {
			remove := c.Fault(nil, "SPUBLISH", f.fault)
			res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x"})
			remove()
			if res.Err != nil || res.Receivers != 1 || res.Repeated != f.repeated {
				t.Errorf("%d: %+v, want Repeated %v", i, res, f.repeated)
			}
		}
		n.await(t, "five events", func() bool { return len(n.events) == 5 })
		if len(n.disorder)+len(n.gaps) > 0 {
			t.Errorf("%v, %v", n.disorder, n.gaps)
		}
	})
}

// TestDesertedChannelIsLookedInto: when the receivers of a channel become none, the topology is asked for at once; when
// there never were any, it is not.
func TestDesertedChannelIsLookedInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		pub, sub := serve(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial}), serve(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
		publish := func(topic string) (asked int) {
			time.Sleep(time.Second)
			before := c.Calls("CLUSTER")
			for range 20 {
				if res := pub.publish(t.Context(), transport.Envelope{Topic: topic, Publisher: "p", ID: "x"}); res.Err != nil {
					t.Fatal(res.Err)
				}
			}
			time.Sleep(time.Millisecond)
			return c.Calls("CLUSTER") - before
		}
		// Transports ask about once a second in any case, which may fall into a look at one, but not at each of three.
		least := func(topic string) int { return min(publish(topic), publish(topic), publish(topic)) }
		sub.subscribe(t, transport.Topic{Name: "orders"})
		lonely, heard := least("lonely"), least("orders")
		sub.stop()
		if deserted := publish("orders"); deserted == 0 || lonely+heard > 0 {
			t.Errorf("asked %d times for a channel without receivers, %d for one with, %d for one that was left", lonely, heard, deserted)
		}
		if again := least("orders"); again > 0 {
			t.Errorf("asked %d times more", again)
		}
	})
}
