package fakecluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
)

// listen subscribes to a channel on a connection of its own, and returns what arrives.
func listen(t testing.TB, client rueidis.Client, channel string) (messages <-chan string, gone <-chan error) {
	t.Helper()
	conn, release := client.Dedicate()
	arrived, confirmed := make(chan string, 100), make(chan error, 2)
	ended := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { arrived <- m.Message },
		OnSubscription: func(s rueidis.PubSubSubscription) {
			if s.Kind == "sunsubscribe" {
				confirmed <- errUnsubscribed
			}
		},
	})
	if err := conn.Do(t.Context(), conn.B().Ssubscribe().Channel(channel).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	t.Cleanup(func() {
		conn.Close()
		release()
		waiting.Wait()
	})
	out := make(chan error, 1)
	waiting.Go(func() {
		select {
		case err := <-ended:
			if err == nil {
				err = io.EOF
			}
			out <- err
		case err := <-confirmed:
			out <- err
		}
	})
	return arrived, out
}

var errUnsubscribed = errors.New("sunsubscribe")

func spublish(t testing.TB, client rueidis.Client, channel, payload string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	return client.Do(ctx, client.B().Spublish().Channel(channel).Message(payload).Build()).Error()
}

func TestRueidisOnEveryNode(t *testing.T) {
	for _, cfg := range []fakecluster.Config{
		{Replicas: 1}, {Replicas: 1, Version: "8.0.0"}, {TCP: true, Replicas: 1}, {Standalone: true}, {Standalone: true, TCP: true},
	} {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			c := fakecluster.New(t, cfg)
			client := clientOf(t, c)
			for i := range 60 {
				key := fmt.Sprintf("key-%d", i)
				if err := client.Do(t.Context(), client.B().Set().Key(key).Value(key).Build()).Error(); err != nil {
					t.Fatal(err)
				}
				if got, err := client.Do(t.Context(), client.B().Get().Key(key).Build()).ToString(); err != nil || got != key {
					t.Fatalf("got %q, %v", got, err)
				}
				if err := spublish(t, client, key, key); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range c.Nodes() {
				if n.IsPrimary() && n.Calls("SET") == 0 {
					t.Errorf("%v was never asked", n)
				}
			}
		})
	}
}

// TestRueidisOverAFailOver kills a primary, fails over and subscribes again; it publishes all the while.
func TestRueidisOverAFailOver(t *testing.T) {
	for _, version := range []string{"7.0.15", "8.0.0"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: version, FailOverAfter: 3 * time.Second})
				client := clientOf(t, c)
				channel := channelAt(t, c, 0)
				_, gone := listen(t, client, channel)
				c.Kill(c.Nodes()[0])
				if err := <-gone; err == nil {
					t.Error("the subscriber did not notice")
				}
				if err := spublish(t, client, channel, "lost"); err == nil {
					t.Error("published to a dead node")
				}
				time.Sleep(4 * time.Second)
				var messages <-chan string
				for range 100 {
					// rueidis learns of the new primary by a refresh that a failure began.
					err := spublish(t, client, channel, "x")
					if err == nil {
						messages, _ = listen(t, client, channel)
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				if err := spublish(t, client, channel, "found"); err != nil {
					t.Fatal(err)
				}
				if got := <-messages; got != "found" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// TestRueidisOverAMigration: the subscriber gets a "sunsubscribe", publishers follow MOVED.
func TestRueidisOverAMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		client := clientOf(t, c)
		channel := channelAt(t, c, 0)
		_, gone := listen(t, client, channel)
		c.MigrateSlot(router.Slot(channel), c.Nodes()[2])
		if err := <-gone; !errors.Is(err, errUnsubscribed) {
			t.Errorf("the subscriber got %v, want a sunsubscribe", err)
		}
		if err := spublish(t, client, channel, "x"); err != nil {
			t.Errorf("MOVED was not followed: %v", err)
		}
		if n := c.Nodes()[2].Calls("SPUBLISH"); n != 1 {
			t.Errorf("the new owner got %d, want 1", n)
		}
	})
}

// TestRueidisFollowsASK reads a key that has moved already.
func TestRueidisFollowsASK(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{})
	client := clientOf(t, c)
	key := channelAt(t, c, 0)
	if err := client.Do(t.Context(), client.B().Set().Key(key).Value("v").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	m := c.BeginMigration(router.Slot(key), c.Nodes()[1])
	if n := m.MoveKeys(10); n != 1 {
		t.Fatalf("moved %d keys, want 1", n)
	}
	if got, err := client.Do(t.Context(), client.B().Get().Key(key).Build()).ToString(); err != nil || got != "v" {
		t.Errorf("got %q, %v", got, err)
	}
	if c.Nodes()[1].Calls("ASKING") != 1 {
		t.Error("no ASKING was sent")
	}
}

// TestBlockedReadEndsWithItsNode: a blocking XREADGROUP gets the end of the connection, and leaves nothing behind.
func TestBlockedReadEndsWithItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		key := channelAt(t, c, 0)
		w := connect(t, c.Dial, c.Addrs()[0])
		w.want("+OK", "XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
		begun := time.Now()
		w.want("_", "XREADGROUP", "GROUP", "g", "c", "BLOCK", "5000", "STREAMS", key, ">")
		if d := time.Since(begun); d != 5*time.Second {
			t.Errorf("blocked for %v, want 5 s", d)
		}
		w.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", key, ">")
		time.Sleep(time.Second)
		c.Kill(c.Nodes()[0])
		w.awaitEnd()
	})
}

// TestAnHourOfQuiet: a bubble's hour passes at once, with subscribers, publishers and their pings.
func TestAnHourOfQuiet(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		client := clientOf(t, c)
		channel := channelAt(t, c, 1)
		messages, _ := listen(t, client, channel)
		time.Sleep(time.Hour)
		if err := spublish(t, client, channel, "after an hour"); err != nil {
			t.Fatal(err)
		}
		if got := <-messages; got != "after an hour" {
			t.Errorf("got %q", got)
		}
	})
	t.Logf("an hour took %v", time.Since(began))
}

// TestManyAtOnce runs 100 clusters in one process.
func TestManyAtOnce(t *testing.T) {
	for i := range 100 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
			channel := channelAt(t, c, 0)
			sub, pub := connect(t, c.Dial, c.Addrs()[3]), connect(t, c.Dial, c.Addrs()[0])
			sub.do("SSUBSCRIBE", channel)
			pub.do("SPUBLISH", channel, fmt.Sprint(i))
			sub.gets(fmt.Sprintf(">[$smessage $%s $%d]", channel, i))
			c.Kill(c.Nodes()[0])
			pub.awaitEnd()
			c.FailOver(0)
			connect(t, c.Dial, c.Addrs()[3]).want(":1", "SPUBLISH", channel, "again")
		})
	}
}

// TestSlowSubscriber: one that does not read is cut off at the limit, and the others do not notice.
func TestSlowSubscriber(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{OutputBufferBytes: 100 << 10})
	channel := channelAt(t, c, 0)
	slow, err := c.Dial(t.Context(), c.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	if _, err := io.WriteString(slow, encode("SSUBSCRIBE", channel)); err != nil {
		t.Fatal(err)
	}
	for c.Subscribers(channel) == 0 { // it does not read the confirmation either
		connect(t, c.Dial, c.Addrs()[0]).do("PING")
	}
	quick, pub := connect(t, c.Dial, c.Addrs()[0]), connect(t, c.Dial, c.Addrs()[0])
	quick.do("SSUBSCRIBE", channel)
	payload := strings.Repeat("x", 1000)
	for i := range 200 {
		pub.do("SPUBLISH", channel, payload)
		quick.await("each", func(frames []string) bool { return len(frames) == i+2 })
	}
	if n := c.Subscribers(channel); n != 1 {
		t.Errorf("%d subscribers are left, want the quick one", n)
	}
}

// TestConcurrentLife changes everything at once, for the race detector and for what gets stuck.
func TestConcurrentLife(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Replicas: 2, Version: "7.2.4"})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 60 {
				node := c.Nodes()[(i+j)%9]
				conn, err := c.Dial(t.Context(), node.Addr())
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(waitTimeout))
				name := fmt.Sprintf("channel-%d", j)
				all.Go(func() { _, _ = io.Copy(io.Discard, conn) })
				_, _ = io.WriteString(conn, encode("SSUBSCRIBE", name)+encode("SPUBLISH", name, "x")+encode("CLUSTER", "NODES")+
					encode("EVAL", "return redis.call('SPUBLISH', ARGV[1], 'x')", "0", name))
				_ = conn.Close()
			}
		})
	}
	all.Go(func() {
		for i := range 30 {
			shard := i % 3
			old := c.PrimaryFor(shard * 6000)
			switch i % 4 {
			case 0:
				c.Kill(old)
			case 1:
				c.Pause(old)
			case 2:
				c.Isolate(old)
			}
			c.FailOver(shard)
			if i%4 == 0 {
				c.Restart(old)
			}
			c.Unpause(old)
			c.Rejoin(old)
			slot := router.Slot(fmt.Sprintf("channel-%d", i))
			c.MigrateSlots(slot, slot, c.PrimaryFor((i%3)*6000))
		}
	})
	all.Wait()
}
