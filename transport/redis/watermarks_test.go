package redis_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// marksOf counts the watermarks that were published.
func marksOf(c *fakecluster.Cluster) (n int) {
	for _, call := range c.CommandLog() {
		if len(call.Args) > 1 && strings.EqualFold(call.Args[0], "SPUBLISH") && strings.HasSuffix(call.Args[1], ":watermarks") {
			n++
		}
	}
	return n
}

// about has a fault decide about commands one of whose arguments ends so.
func about(suffix string, f fakecluster.Fault) fakecluster.Fault {
	return func(call fakecluster.Call) fakecluster.Outcome {
		if slices.ContainsFunc(call.Args[1:], func(arg string) bool { return strings.HasSuffix(arg, suffix) }) {
			return f(call)
		}
		return fakecluster.Pass()
	}
}

// TestWatermarkFollowsTheLastEvent: whoever writes it, the publisher's goroutines or the caller itself, and also when it
// is the first event ever: not at once, when who has lost the event loses the watermark too, and not much later.
func TestWatermarkFollowsTheLastEvent(t *testing.T) {
	for name, ends := range map[string]bool{"a caller that writes": false, "a caller that waits": true} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				pub := serve(t, cfg)
				time.Sleep(time.Second) // the writers have nothing to do, and sleep
				for round := range 5 {
					ctx, cancel := context.Background(), func() {}
					if ends {
						ctx, cancel = context.WithTimeout(ctx, patience)
					}
					res := pub.publish(ctx, transport.Envelope{Topic: "t", Publisher: "p", ID: "x", Payload: []byte("1")})
					cancel()
					if res.Err != nil {
						t.Fatal(res.Err)
					}
					before := marksOf(c)
					time.Sleep(150 * time.Millisecond)
					if round == 0 && marksOf(c) != before {
						t.Error("a watermark came at once")
					}
					time.Sleep(150 * time.Millisecond)
					if got := marksOf(c) - before; got != 1 {
						t.Errorf("round %d: %d watermarks within 300ms", round, got)
					}
					time.Sleep(20 * time.Second) // more follow, ever more rarely
					if got := marksOf(c) - before; got < 3 || got > 4 {
						t.Errorf("round %d: %d watermarks within 20s", round, got)
					}
				}
			})
		})
	}
}

// TestWatermarksWhileEventsFlow: there is one every ten seconds, and the one that tells of the tail comes all the same
// when one of those has just been.
func TestWatermarksWhileEventsFlow(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := transport.Topic{Name: "t"}
		pub := serve(t, cfg)
		begin := time.Now()
		for time.Since(begin) < 25*time.Second {
			pub.send(t, topic, 1)
			time.Sleep(50 * time.Millisecond)
		}
		if got := marksOf(c); got < 2 || got > 3 {
			t.Errorf("%d watermarks in 25s", got)
		}
		for marksOf(c) < 3 { // until the next one of those
			pub.send(t, topic, 1)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond)
		if got := marksOf(c); got != 4 {
			t.Errorf("%d watermarks, and none of the tail", got)
		}
	})
}

// TestGreetedBeforePublishersListen: an outage takes the connections of both sides, and the subscriber is back first, so
// nobody hears it ask where the publishers stand. They tell when they are back.
func TestGreetedBeforePublishersListen(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		sub.complete(t, topic, 3)
		time.Sleep(10 * time.Second)
		away := c.Fault(nil, "SSUBSCRIBE", about(":hello", fakecluster.Always(fakecluster.ReplyError("TRYAGAIN not yet"))))
		muted := c.Fault(nil, "SPUBLISH", about(":watermarks", fakecluster.Always(fakecluster.ReplyError("TRYAGAIN not yet"))))
		heard := c.Fault(c.PrimaryFor(router.Slot(topic.Name)), "SSUBSCRIBE", fakecluster.Always(fakecluster.Delay(100*time.Millisecond)))
		for _, n := range c.Nodes() {
			c.KillClients(n, "pubsub")
		}
		pub.send(t, topic, 5)
		heard()
		time.Sleep(2 * time.Second) // the greeting, and the first watermarks, are long gone
		sub.complete(t, topic, 3)
		muted()
		away()
		start := time.Now()
		sub.complete(t, topic, 8)
		if took := time.Since(start); took > 600*time.Millisecond {
			t.Errorf("the tail was repaired after %v", took)
		}
	})
}

// TestGreetedAgain: publishers heard the question where they stand, and their answers were lost; or the server that it was
// sent through hangs. It is asked again.
func TestGreetedAgain(t *testing.T) {
	for name, fault := range map[string]func(c *fakecluster.Cluster, topic transport.Topic) (remove func()){
		"an answer was lost": func(c *fakecluster.Cluster, _ transport.Topic) func() {
			return c.Fault(nil, "SPUBLISH", about(":inbox", fakecluster.Times(1, fakecluster.ReplyError("TRYAGAIN not now"))))
		},
		"a server hangs": func(c *fakecluster.Cluster, topic transport.Topic) func() {
			other := c.PrimaryFor((router.Slot(topic.Name) + router.Slots/3) % router.Slots)
			c.Latency(other, 5*time.Second)
			return func() { c.Latency(other, 0) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 4 { // another node is asked through each time
				inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
					topic := topicAt(c, 0)
					pub, sub := serve(t, cfg), serve(t, cfg)
					for i := range round {
						sub.subscribe(t, transport.Topic{Name: strings.Repeat("x", i+1)})
					}
					sub.subscribe(t, topic)
					pub.send(t, topic, 3)
					sub.complete(t, topic, 3)
					c.Fault(nil, "SPUBLISH", about(":watermarks", fakecluster.Always(fakecluster.ReplyError("NOPERM No permissions"))))
					time.Sleep(10 * time.Second)
					var remove func()
					deaf(c, topic, func() {
						pub.send(t, topic, 5)
						remove = fault(c, topic)
					})
					start := time.Now()
					sub.complete(t, topic, 8)
					if took := time.Since(start); took > time.Second {
						t.Errorf("the tail was repaired after %v", took)
					}
					remove()
					synctest.Wait()
				})
			}
		})
	}
}
