package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// many is how many channels are subscribed to at once here. They need several greetings.
const many = 2000

func manyTopic(i int) transport.Topic { return transport.Topic{Name: fmt.Sprintf("many.%d", i)} }

// outcome is how a Subscribe ended.
type outcome struct {
	err  error
	took time.Duration
}

// subscribeMany subscribes to many topics at once, each from a goroutine of its own.
func subscribeMany(n *node, ctxOf func(i int) context.Context) (wait func() []outcome) {
	outcomes := make([]outcome, many)
	var running sync.WaitGroup
	start := time.Now()
	for i := range many {
		running.Go(func() {
			err := n.Subscribe(ctxOf(i), manyTopic(i))
			outcomes[i] = outcome{err: err, took: time.Since(start)}
		})
	}
	return func() []outcome {
		running.Wait()
		return outcomes
	}
}

// longest fails the test unless all succeeded, and returns the longest time.
func longest(t *testing.T, outcomes []outcome) (took time.Duration) {
	t.Helper()
	for i, o := range outcomes {
		if o.err != nil {
			t.Fatalf("topic %d: %v", i, o.err)
		}
		took = max(took, o.took)
	}
	return took
}

// hellos counts the greetings that were sent.
func hellos(c *fakecluster.Cluster) (n int) {
	for _, call := range c.CommandLog() {
		if len(call.Args) > 1 && strings.EqualFold(call.Args[0], "SPUBLISH") && strings.HasSuffix(call.Args[1], ":hello") {
			n++
		}
	}
	return n
}

// TestManyBaselinesAtOnce: full questions do not wait for each other, but for who else asks through the same server: one that
// takes its time delays all by less than that for each question. A publisher says in answer to them where it stands.
func TestManyBaselinesAtOnce(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		pub, sub := serve(t, cfg), serve(t, cfg)
		for i := 0; i < many; i += 100 {
			pub.send(t, manyTopic(i), 3)
		}
		sub.subscribe(t, transport.Topic{Name: "first"})
		time.Sleep(time.Second)
		before := hellos(c)
		const delay = 60 * time.Millisecond
		remove := c.Fault(nil, "SPUBLISH", about(":hello", fakecluster.Always(fakecluster.Delay(delay))))
		took := longest(t, subscribeMany(sub, func(int) context.Context { return t.Context() })())
		remove()
		if sent := hellos(c) - before; sent < many/512 || took > 3*delay+delay/2 {
			t.Errorf("%d channels were greeted within %v by %d questions", many, took, sent)
		}
		for i := 0; i < many; i += 100 {
			pub.send(t, manyTopic(i), 1)
		}
		sub.await(t, "what was published since", func() bool { return len(sub.events) >= many/100 })
		sub.mu.Lock()
		defer sub.mu.Unlock()
		for _, env := range sub.events {
			if env.Seq != 4 {
				t.Errorf("event %d of %s", env.Seq, env.Topic)
			}
		}
		if len(sub.gaps) > 0 {
			t.Errorf("gaps %v", sub.gaps)
		}
	})
}

// TestManyAndADumbPublisher: a publisher is counted as a listener and never answers. Each Subscribe waits as long as is
// documented, and all of them do together.
func TestManyAndADumbPublisher(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		pub, sub := serve(t, cfg), serve(t, cfg)
		pub.send(t, manyTopic(0), 1)
		time.Sleep(time.Second)
		c.Fault(nil, "SPUBLISH", about(":inbox", fakecluster.Always(fakecluster.ReplyError("TRYAGAIN never"))))
		// No time passes while channels are confirmed: what a question finds waiting is then not up to the scheduler.
		c.Fault(nil, "SPUBLISH", about(":hello", fakecluster.Always(fakecluster.Delay(5*time.Millisecond))))
		before := hellos(c)
		took := longest(t, subscribeMany(sub, func(int) context.Context { return t.Context() })())
		if took < 250*time.Millisecond || took > 300*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		time.Sleep(10 * time.Second)
		if sent := hellos(c) - before; sent < 3*many/512 || sent > 3*(many/512+8) {
			t.Errorf("%d questions", sent)
		}
	})
}

// TestBaselineRefused: whoever may not publish is subscribed all the same, and does not go on trying.
func TestBaselineRefused(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		c.Fault(nil, "SPUBLISH", about(":hello", fakecluster.Always(fakecluster.ReplyError("NOPERM No permissions"))))
		sub := serve(t, cfg)
		start := time.Now()
		for i := range 5 {
			sub.subscribe(t, manyTopic(i))
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("5 topics took %v", took)
		}
		time.Sleep(3 * time.Second)
		sent := hellos(c)
		if sent > 400 {
			t.Errorf("sent %d times in 3s", sent)
		}
		time.Sleep(10 * time.Second)
		if again := hellos(c) - sent; again > 0 {
			t.Errorf("sent %d times more", again)
		}
	})
}

// TestManyCancelled: callers that leave in the middle take nobody with them and leave nothing behind, whether they were
// in line, or waited for a server or for publishers.
func TestManyCancelled(t *testing.T) {
	for _, after := range []time.Duration{0, time.Nanosecond, 10 * time.Millisecond, 40 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				sub := serve(t, cfg)
				sub.subscribe(t, transport.Topic{Name: "first"})
				for _, n := range c.Nodes() {
					c.Latency(n, 20*time.Millisecond)
				}
				leaving, leave := context.WithCancel(t.Context())
				wait := subscribeMany(sub, func(i int) context.Context {
					if i%2 == 0 {
						return leaving
					}
					return t.Context()
				})
				if after > 0 {
					time.Sleep(after)
				}
				leave()
				left := make(map[int]bool)
				for i, o := range wait() {
					switch {
					case o.err == nil:
					case i%2 == 0 && errors.Is(o.err, context.Canceled):
						left[i] = true
					default:
						t.Fatalf("topic %d: %v", i, o.err)
					}
				}
				for _, n := range c.Nodes() {
					c.Latency(n, 0)
				}
				time.Sleep(time.Second)
				for i := range many {
					if got, want := c.Subscribers(manyTopic(i).Name), 1; left[i] && got != 0 || !left[i] && got != want {
						t.Fatalf("topic %d has %d subscribers; its Subscribe failed: %v", i, got, left[i])
					}
				}
				if got := longest(t, subscribeMany(sub, func(int) context.Context { return t.Context() })()); got > time.Second {
					t.Errorf("all of them: %v", got)
				}
			})
		})
	}
}

// TestManyJoined: several callers want each topic, and the first of them leaves. The others take over.
func TestManyJoined(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		sub := serve(t, cfg)
		for _, n := range c.Nodes() {
			c.Latency(n, 20*time.Millisecond)
		}
		leaving, leave := context.WithCancel(t.Context())
		first := subscribeMany(sub, func(int) context.Context { return leaving })
		synctest.Wait()
		second := subscribeMany(sub, func(int) context.Context { return t.Context() })
		third := subscribeMany(sub, func(int) context.Context { return t.Context() })
		time.Sleep(10 * time.Millisecond)
		leave()
		first()
		longest(t, second())
		longest(t, third())
		if err := sub.Subscribe(t.Context(), transport.Topic{Name: manyTopic(1).Name, Partitions: 3}); !errors.Is(err, transport.ErrInvalidTopic) {
			t.Errorf("another number of partitions: %v", err)
		}
	})
}

// TestManyAndClose: the transport ends in the middle. Every Subscribe returns at once.
func TestManyAndClose(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 25 * time.Millisecond, 45 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				tr, err := redis.Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				n := &node{Transport: tr, sink: newSink()}
				var serving sync.WaitGroup
				serving.Go(func() {
					if err := tr.Serve(t.Context(), n.sink); !errors.Is(err, transport.ErrClosed) {
						t.Errorf("Serve: %v", err)
					}
				})
				n.subscribe(t, transport.Topic{Name: "first"})
				for _, node := range c.Nodes() {
					c.Latency(node, 20*time.Millisecond)
				}
				wait := subscribeMany(n, func(int) context.Context { return t.Context() })
				if after > 0 {
					time.Sleep(after)
				}
				if err := tr.Close(); err != nil {
					t.Error(err)
				}
				closed := time.Now()
				for i, o := range wait() {
					if o.err != nil && !errors.Is(o.err, transport.ErrClosed) {
						t.Fatalf("topic %d: %v", i, o.err)
					}
				}
				if late := time.Since(closed); late > 0 {
					t.Errorf("somebody waited for %v more", late)
				}
				serving.Wait()
			})
		})
	}
}

// TestManyAndADeadShard: topics of other shards do not wait for one whose server is gone, or hangs, and its own are
// subscribed when it is back.
func TestManyAndADeadShard(t *testing.T) {
	for name, fault := range map[string]func(c *fakecluster.Cluster, n *fakecluster.Node) (undo func()){
		"dead":  func(c *fakecluster.Cluster, n *fakecluster.Node) func() { c.Kill(n); return func() { c.Restart(n) } },
		"hangs": func(c *fakecluster.Cluster, n *fakecluster.Node) func() { c.Pause(n); return func() { c.Unpause(n) } },
	} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				sub := serve(t, cfg)
				sub.subscribe(t, transport.Topic{Name: "first"})
				down := c.PrimaryFor(router.Slot(manyTopic(0).Name))
				undo := fault(c, down)
				wait := subscribeMany(sub, func(int) context.Context { return t.Context() })
				time.Sleep(5 * time.Second)
				undo()
				outcomes := wait()
				longest(t, outcomes)
				late := 0
				for i, o := range outcomes {
					switch theirs := c.PrimaryFor(router.Slot(manyTopic(i).Name)) == down; {
					case theirs:
						late++
					case o.took > 300*time.Millisecond:
						t.Fatalf("topic %d of another shard took %v", i, o.took)
					}
				}
				if late < many/5 {
					t.Errorf("only %d topics were of the shard", late)
				}
			})
		})
	}
}

// TestManyInAWindow: publishers go on while thousands subscribe. Whatever is published after a Subscribe returned arrives,
// once and in order.
func TestManyInAWindow(t *testing.T) {
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		pub, sub := serve(t, cfg), serve(t, cfg)
		const watched = 40
		for i := range watched {
			pub.send(t, manyTopic(i*(many/watched)), 2) // so that it is older than the subscription
		}
		for _, n := range c.Nodes() {
			c.Latency(n, 5*time.Millisecond)
		}
		var publishing sync.WaitGroup
		from := make([]uint64, watched) // the first number after Subscribe returned
		outcomes := make([]error, many)
		var subscribing sync.WaitGroup
		for i := range many {
			subscribing.Go(func() {
				outcomes[i] = sub.Subscribe(t.Context(), manyTopic(i))
				if k := i / (many / watched); i%(many/watched) == 0 && outcomes[i] == nil {
					publishing.Go(func() {
						env := transport.Envelope{Topic: manyTopic(i).Name, Publisher: "p", ID: "x", Payload: []byte("1")}
						results := make([]transport.Result, 1)
						pub.Publish(t.Context(), []*transport.Envelope{&env}, results)
						from[k] = env.Seq
						if results[0].Err != nil {
							t.Error(results[0].Err)
						}
					})
				}
			})
		}
		subscribing.Wait()
		publishing.Wait()
		if err := errors.Join(outcomes...); err != nil {
			t.Fatal(err)
		}
		for k := range watched {
			sub.await(t, "the event after Subscribe", func() bool {
				return slices.ContainsFunc(sub.events, func(e *transport.Envelope) bool {
					return e.Topic == manyTopic(k*(many/watched)).Name && e.Seq == from[k]
				})
			})
		}
	})
}
