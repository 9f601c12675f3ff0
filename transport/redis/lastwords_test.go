package redis_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestEndedMeanwhile: a publisher ends in order while a subscriber is cut off. When that is back it tells what it missed:
// how much, where publishers may keep their last watermark; else that nobody knows how much.
func TestEndedMeanwhile(t *testing.T) {
	for name, refuse := range map[string]string{"kept": "", "may not be written": "SET", "may not be read": "GET"} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				topic := topicAt(c, 0)
				pub, sub := serve(t, cfg), serve(t, cfg)
				if refuse != "" {
					c.Fault(nil, refuse, fakecluster.Always(fakecluster.ReplyError("NOPERM No permissions")))
				}
				sub.subscribe(t, topic)
				pub.send(t, topic, 3)
				sub.complete(t, topic, 3)
				time.Sleep(10 * time.Second)
				deaf(c, topic, func() {
					pub.send(t, topic, 5)
					pub.stop()
				})
				sub.await(t, "the gap", func() bool { return len(sub.gaps) > 0 })
				time.Sleep(time.Minute)
				synctest.Wait()
				sub.mu.Lock()
				defer sub.mu.Unlock()
				if len(sub.gaps) != 1 {
					t.Fatalf("gaps %v", sub.gaps)
				}
				g := sub.gaps[0]
				if refuse == "" {
					if g.From != 4 || g.To != 8 || g.Count != 5 || g.Kind != transport.Lost || g.Reason != transport.PublisherGone {
						t.Errorf("%v", g)
					}
					return
				}
				if g.Measured() || g.Publisher != "p" || g.From != 4 || g.Kind != transport.Uncertain || g.Reason != transport.PublisherGone {
					t.Errorf("%v", g)
				}
				if counts := sub.Ledger(topic); counts.Unmeasured != 1 || counts.Missing != 0 || counts.Received != 3 {
					t.Errorf("%+v", counts)
				}
			})
		})
	}
}

// TestEndedAndHeard: whose last watermark was heard is not looked for after a fault, and nothing is told of it.
func TestEndedAndHeard(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub := serve(t, cfg), serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		sub.complete(t, topic, 3)
		pub.stop()
		time.Sleep(time.Second)
		deaf(c, topic, func() { time.Sleep(time.Second) })
		time.Sleep(time.Minute)
		sub.complete(t, topic, 3)
		for _, call := range c.CommandLog() {
			if strings.EqualFold(call.Args[0], "GET") {
				t.Errorf("%v", call.Args)
			}
		}
	})
}

// TestEndedMeanwhileServers is TestEndedMeanwhile on a real server, which cuts a subscriber off by taking away its permission.
func TestEndedMeanwhileServers(t *testing.T) {
	for name, keys := range map[string]string{"kept": "%RW~*", "no keys": "resetkeys"} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Standalone(t, redistest.Config{Directives: []string{
				"user reader on >secret &* resetkeys +@all", "user writer on >secret &* resetkeys +@all",
			}})
			do(t, s, "ACL", "SETUSER", "reader", keys)
			do(t, s, "ACL", "SETUSER", "writer", keys)
			repair := redis.Repair{Timeout: time.Second}
			pub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "writer", Password: "secret", Repair: repair})
			sub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "reader", Password: "secret", Repair: repair})
			topic := transport.Topic{Name: "t"}
			sub.subscribe(t, topic)
			pub.send(t, topic, 3)
			sub.complete(t, topic, 3)
			do(t, s, "ACL", "SETUSER", "reader", "resetchannels", "&{*}:shardbus:*")
			pub.send(t, topic, 5)
			pub.stop()
			do(t, s, "ACL", "SETUSER", "reader", "&*")
			sub.await(t, "the gap", func() bool { return len(sub.gaps) > 0 })
			sub.mu.Lock()
			defer sub.mu.Unlock()
			switch g := sub.gaps[0]; {
			case g.Publisher != "p" || g.From != 4 || g.Reason != transport.PublisherGone:
				t.Errorf("%v", g)
			case name == "kept" && (g.To != 8 || g.Count != 5 || g.Kind != transport.Lost):
				t.Errorf("%v", g)
			case name != "kept" && (g.Measured() || g.Kind != transport.Uncertain):
				t.Errorf("%v", g)
			}
		})
	}
}
