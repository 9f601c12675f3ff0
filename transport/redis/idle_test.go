package redis_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestIdleConnectionEnds: a publisher's connection that ends while nothing is published is made again at once, not when
// somebody publishes: that Publish is accepted as fast as any, once, at the primary, and the next numbers follow.
func TestIdleConnectionEnds(t *testing.T) {
	t.Parallel()
	for _, standby := range []bool{false, true} {
		for name, end := range map[string]func(c *fakecluster.Cluster, n *fakecluster.Node){
			"killed": func(c *fakecluster.Cluster, n *fakecluster.Node) { c.KillClients(n, "normal") },
			"restarted": func(c *fakecluster.Cluster, n *fakecluster.Node) {
				c.Kill(n)
				time.Sleep(50 * time.Millisecond)
				c.Restart(n)
			},
		} {
			t.Run(fmt.Sprintf("%s, Standby %v", name, standby), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fakecluster.AwaitClients(t)
					c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
					cfg := redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: standby}
					sub, pub := serve(t, cfg), serve(t, cfg)
					topic := transport.Topic{Name: "idle"}
					sub.subscribe(t, topic)
					home := c.PrimaryFor(router.Slot(topic.Name))
					var last uint64
					publish := func(most time.Duration) {
						t.Helper()
						env := &transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "x", Payload: []byte(`{}`)}
						results, begin := make([]transport.Result, 1), time.Now()
						pub.Publish(t.Context(), []*transport.Envelope{env}, results)
						took := time.Since(begin)
						if want := (transport.Result{Receivers: 1, Seq: env.Seq}); results[0] != want || env.Seq != last+1 || took > most {
							t.Errorf("after %v: number %d, %+v; want %d, %+v, within %v", took, env.Seq, results[0], last+1, want, most)
						}
						last = env.Seq
					}
					publish(time.Second)
					for range 3 {
						time.Sleep(2 * time.Second) // between two watermarks
						end(c, home)
						time.Sleep(time.Second)
						publish(0)
					}
					sub.await(t, "all events", func() bool { return len(sub.events) == int(last) })
					time.Sleep(5 * time.Second)
					if n := len(sub.received()); n != int(last) || len(sub.gaps) > 0 {
						t.Errorf("%d events of %d, gaps %v", n, last, sub.gaps)
					}
				})
			})
		}
	}
}

// TestIdleConnectionEndsUnnoticed: who publishes at the very moment when the connection ends has no error either, and
// nothing arrives twice.
func TestIdleConnectionEndsUnnoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		cfg := redis.Config{Addrs: c.Addrs(), Dial: c.Dial}
		sub, pub := serve(t, cfg), serve(t, cfg)
		topic := transport.Topic{Name: "idle"}
		sub.subscribe(t, topic)
		home := c.PrimaryFor(router.Slot(topic.Name))
		for n := range 50 {
			time.Sleep(time.Duration(n) * 5 * time.Millisecond)
			c.KillClients(home, "normal")
			env := &transport.Envelope{Topic: topic.Name, Publisher: "p", ID: fmt.Sprint(n), Payload: []byte(`{}`)}
			results := make([]transport.Result, 1)
			pub.Publish(t.Context(), []*transport.Envelope{env}, results)
			if results[0].Err != nil || env.Seq != uint64(n+1) {
				t.Errorf("number %d: %+v", env.Seq, results[0])
			}
		}
		sub.await(t, "all events", func() bool { return len(sub.events) >= 50 })
		time.Sleep(5 * time.Second)
		if n := len(sub.received()); n != 50 || len(sub.gaps) > 0 || len(sub.disorder) > 0 {
			t.Errorf("%d events of 50, gaps %v, disorder %v", n, sub.gaps, sub.disorder)
		}
	})
}
