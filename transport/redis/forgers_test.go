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

// forger is somebody who may publish on our channels, and nothing else.
type forger struct {
	t      *testing.T
	client rueidis.Client
}

func newForger(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) *forger {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: cfg.Addrs, DisableCache: true,
		DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return c.Dial(ctx, addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &forger{t: t, client: client}
}

// publish publishes messages on a channel.
func (s *forger) publish(channel string, messages ...string) {
	s.t.Helper()
	for len(messages) > 0 {
		n := min(len(messages), 256)
		commands := make(rueidis.Commands, n)
		for i, m := range messages[:n] {
			commands[i] = s.client.B().Spublish().Channel(channel).Message(m).Build()
		}
		for _, reply := range s.client.DoMulti(s.t.Context(), commands...) {
			if err := reply.Error(); err != nil {
				s.t.Fatal(err)
			}
		}
		messages = messages[n:]
	}
}

// forged is an event of a publisher that it never sent.
func forged(publisher string, seq uint64) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"forged","source":%q,"type":"t","sequence":"%020d","data":{"a":2}}`, publisher, seq)
}

// own is an event as node.send publishes it.
func own(topic transport.Topic, publisher string, seq uint64) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"x","source":%q,"type":%q,"sequence":"%020d","data":{"a": 1}}`, publisher, topic.Name, seq)
}

func mark(channel, publisher string, last uint64, age time.Duration) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"watermark","source":%q,"type":"shardbus.watermark","data":{"streams":[{"channel":%q,"last":%d,"age":%d}]}}`,
		publisher, channel, last, age.Milliseconds())
}

// ownEvents returns the numbers of the events that publisher p sent, as they were delivered, without those of forgers.
func (n *node) ownEvents() (seqs []uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, env := range n.events {
		if env.Publisher == "p" && env.ID == "x" {
			seqs = append(seqs, env.Seq)
		}
	}
	return seqs
}

// allOwn waits until the last event of p is delivered, and checks that all from first on were, once and in order, and that
// nothing is said to be missing.
func (n *node) allOwn(t *testing.T, first, last uint64) {
	t.Helper()
	n.await(t, fmt.Sprintf("event %d", last), func() bool { return n.last[n.events[0].Topic+"|0|p"] >= last })
	synctest.Wait()
	for i, seq := range n.ownEvents() {
		if seq != first+uint64(i) {
			t.Fatalf("event %d of p in place of %d", seq, first+uint64(i))
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := n.last[n.events[0].Topic+"|0|p"]; got != last || len(n.gaps) > 0 {
		t.Errorf("up to %d of %d, gaps %v", got, last, n.gaps)
	}
}

// TestMoreSourcesThanAreRemembered: 1,100 other sources do not have a publisher forgotten. What it sent before is not
// delivered again, and what is lost of it meanwhile is repaired.
func TestMoreSourcesThanAreRemembered(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, sub, s := serve(t, cfg), serve(t, cfg), newForger(t, c, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 20)
		sub.complete(t, topic, 20)
		others := func(name string) (all []string) {
			for i := range 1100 {
				all = append(all, forged(fmt.Sprint(name, i), 1))
			}
			return all
		}
		s.publish(topic.Name, others("one")...)
		for seq := uint64(1); seq <= 20; seq++ {
			s.publish(topic.Name, own(topic, "p", seq))
		}
		sub.allOwn(t, 1, 20)
		s.publish(topic.Name, others("two")...)
		deaf(c, topic, func() { pub.send(t, topic, 12) })
		sub.allOwn(t, 1, 32)
		s.publish(topic.Name, others("three")...)
		pub.send(t, topic, 1)
		sub.allOwn(t, 1, 33)
	})
}

// TestNumbersAhead: events are made up under a publisher's name, from 300 ahead of its own or with holes between. The
// publisher's come all the same, once and in order.
func TestNumbersAhead(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]struct{ first, step, count uint64 }{
		"2,000 from 300 ahead": {320, 1, 2000}, "20,000 two apart": {22, 2, 20000},
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				topic := topicAt(c, 0)
				pub, sub, s := serve(t, cfg), serve(t, cfg), newForger(t, c, cfg)
				sub.subscribe(t, topic)
				pub.send(t, topic, 20)
				sub.complete(t, topic, 20)
				var all []string
				for i := range made.count {
					all = append(all, forged("p", made.first+i*made.step))
				}
				s.publish(topic.Name, all...)
				pub.send(t, topic, 2980) // it runs over the numbers that were made up
				sub.allOwn(t, 1, 3000)
				s.publish(topic.Name, all...) // now they are old
				pub.send(t, topic, 10)
				sub.allOwn(t, 1, 3010)
				if got := sub.Ledger(topic); got.Received != 3010 || got.Missing != 0 || got.Forged == 0 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// TestOldDocuments: an event and a watermark from before the subscription come once more. Nothing is delivered twice or
// out of order, and no gap is made of what was never missing.
func TestOldDocuments(t *testing.T) {
	t.Parallel()
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		marks := "{" + router.Tag(router.Slot(topic.Name)) + "}:shardbus:watermarks"
		pub, sub, s := serve(t, cfg), serve(t, cfg), newForger(t, c, cfg)
		pub.send(t, topic, 500)
		time.Sleep(time.Hour)
		sub.subscribe(t, topic)
		pub.send(t, topic, 10)
		for _, old := range []uint64{1, 2, 300, 500, 505} {
			s.publish(topic.Name, own(topic, "p", old))
			s.publish(marks, mark(topic.Name, "p", old, 10*time.Millisecond))
			pub.send(t, topic, 10)
		}
		sub.allOwn(t, 501, 560)
		time.Sleep(time.Minute)
		sub.allOwn(t, 501, 560)
	})
}

// TestLargeOnesAreMissing: an event that is larger than Config.MaxPayload is not delivered, whoever sends it, and is a gap.
func TestLargeOnesAreMissing(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		pub, s := serve(t, cfg), newForger(t, c, cfg)
		cfg.MaxPayload = 100
		sub := serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 1)
		res := pub.publish(t.Context(), transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "x", Payload: []byte(`"` + strings.Repeat("x", 100) + `"`)})
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		pub.send(t, topic, 1)
		s.publish(topic.Name, strings.Repeat("y", 101), strings.Repeat("z", 100))
		sub.await(t, "all", func() bool { return len(sub.events) == 3 })
		time.Sleep(10 * time.Second)
		sub.mu.Lock()
		defer sub.mu.Unlock()
		if len(sub.gaps) != 2 {
			t.Fatalf("gaps %v", sub.gaps)
		}
		for i, want := range []transport.Gap{{Publisher: "p", From: 2, To: 2, Count: 1}, {Count: 1}} {
			g := sub.gaps[i]
			if g.Publisher != want.Publisher || g.From != want.From || g.To != want.To || g.Count != 1 || g.Reason != transport.Overflow {
				t.Errorf("%v, want %v", g, want)
			}
		}
	})
}
