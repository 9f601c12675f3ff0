package redis_test

import (
	"slices"
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

// TestLastWordsHoldNobodyUp: whatever a server does about the last watermark, a publisher ends without an error, and as soon
// as where nothing is kept.
func TestLastWordsHoldNobodyUp(t *testing.T) {
	for name, o := range map[string]fakecluster.Outcome{
		"no memory": fakecluster.ReplyError("OOM command not allowed when used memory > 'maxmemory'."), "a replica": fakecluster.ReplyError("READONLY You can't write"),
		"no snapshots": fakecluster.ReplyError("MISCONF Redis is configured to save RDB snapshots"), "down": fakecluster.ReplyError("CLUSTERDOWN Hash slot not served"),
		"elsewhere": fakecluster.ReplyError("MOVED 1 h:1"), "on the way": fakecluster.ReplyError("ASK 1 h:1"), "a new password": fakecluster.ReplyError("NOAUTH Authentication required."),
		"no SET": fakecluster.ReplyError("ERR unknown command 'SET'"), "it hangs": fakecluster.Hang(), "it hangs up": fakecluster.Drop(), "it is slow": fakecluster.Delay(700 * time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				c.Fault(nil, "SET", fakecluster.Always(o))
				pub := serve(t, cfg)
				const nodes = 3 // which end one after another
				for i := range nodes {
					pub.send(t, topicAt(c, i), 3)
				}
				began := time.Now()
				pub.stop()
				if took := time.Since(began); took > nodes*(redis.DefaultCommandTimeout+100*time.Millisecond) {
					t.Errorf("it took %v", took)
				}
				if calls := c.CommandLog(); !slices.ContainsFunc(calls, func(call fakecluster.Call) bool { return strings.EqualFold(call.Args[0], "SET") }) {
					t.Error("nothing was kept")
				}
			})
		})
	}
}
