package redis_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
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
