package redis_test

import (
	"context"
	"errors"
	"fmt"
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

// dedicatedTo is a config with a dedicated topic.
func dedicatedTo(cfg redis.Config, topic string) redis.Config {
	cfg.Topics = map[string]redis.TopicConfig{topic: {Dedicated: true}}
	return cfg
}

// TestDedicatedConnections: a dedicated topic has one connection to publish and one to subscribe to each server, and no
// event of it passes the others; all goes on after faults, and nothing is left behind.
func TestDedicatedConnections(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	n := serve(t, dedicatedTo(redis.Config{Addrs: []string{s.Addr()}}, "hot"))
	n.subscribe(t, transport.Topic{Name: "hot"}, transport.Topic{Name: "cold"})
	check := func(round string, events int) {
		t.Helper()
		for _, topic := range []string{"hot", "cold"} {
			if res := n.publish(t.Context(), transport.Envelope{Topic: topic, Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
				t.Errorf("%s: %s: %+v", round, topic, res)
			}
		}
		n.await(t, round, func() bool { return len(n.events) == events })
		eventually(t, round, func() error { // a publisher may be about to be restarted
			reply, err := s.Do(t.Context(), "CLIENT", "LIST")
			if err != nil {
				return err
			}
			text, _ := reply.(string)
			publish, subscribe := strings.Count(text, "name=shardbus-publish"), strings.Count(text, "name=shardbus-subscribe")
			if publish != 2 || subscribe != 2 {
				return fmt.Errorf("%d connections publish and %d subscribe, want 2 and 2:\n%s", publish, subscribe, text)
			}
			return nil
		})
	}
	check("at first", 2)
	if _, err := s.KillClients(t.Context(), "normal"); err != nil {
		t.Fatal(err)
	}
	check("after the loss of the publishers' connections", 4)
	results := make([]transport.Result, 5)
	envs := make([]*transport.Envelope, 5)
	for i := range envs {
		envs[i] = &transport.Envelope{Topic: []string{"hot", "cold", "b{d"}[i%3], Publisher: "p", ID: "x"}
	}
	n.Publish(t.Context(), envs, results)
	for i, res := range results {
		if bad := i%3 == 2; (res.Err != nil) != bad || !bad && (res.Receivers != 1 || envs[i].Seq == 0) {
			t.Errorf("%d: %+v", i, res)
		}
	}
	n.await(t, "a batch of both", func() bool { return len(n.events) == 8 })
	if got := n.Ledger(transport.Topic{Name: "hot"}); got.Received != 4 {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"hot", "cold"} {
		if err := n.Unsubscribe(t.Context(), transport.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
		if res := n.publish(t.Context(), transport.Envelope{Topic: name, Publisher: "p", ID: "x"}); res.Receivers != 0 {
			t.Errorf("%s: %+v after Unsubscribe", name, res)
		}
	}
	n.stop()
	for _, name := range []string{"hot", "cold"} {
		if res := n.publish(t.Context(), transport.Envelope{Topic: name, Publisher: "p", ID: "x"}); !errors.Is(res.Err, transport.ErrClosed) {
			t.Errorf("%s: %v after Close", name, res.Err)
		}
		if err := n.Subscribe(t.Context(), transport.Topic{Name: name}); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("%s: %v after Close", name, err)
		}
	}
}

// TestDedicatedTopicIsInNobodysWay: what holds up a dedicated topic's connection holds up no other topic.
func TestDedicatedTopicIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Standalone: true})
		n := serve(t, dedicatedTo(redis.Config{Addrs: c.Addrs(), Dial: c.Dial}, "hot"))
		c.Fault(nil, "SPUBLISH", func(call fakecluster.Call) fakecluster.Outcome {
			if slices.Contains(call.Args, "hot") {
				return fakecluster.Delay(700 * time.Millisecond)
			}
			return fakecluster.Pass()
		})
		hot := make(chan transport.Result, 1)
		go func() {
			hot <- n.publish(context.Background(), transport.Envelope{Topic: "hot", Publisher: "p", ID: "x"})
		}()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		if res := n.publish(t.Context(), transport.Envelope{Topic: "cold", Publisher: "p", ID: "x"}); res.Err != nil {
			t.Error(res.Err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("another topic waited for %v", took)
		}
		if res := <-hot; res.Err != nil {
			t.Error(res.Err)
		}
	})
}

// TestDedicatedEventsAreRepaired: by publishers and subscribers that agree that the topic is dedicated, and by those that
// don't; a fail-over on the way.
func TestDedicatedEventsAreRepaired(t *testing.T) {
	for _, who := range []struct {
		name     string
		pub, sub bool
	}{{"both", true, true}, {"publisher", true, false}, {"subscriber", false, true}} {
		t.Run(who.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: "7.2.4"})
				topic := topicAt(c, 0)
				cfg := redis.Config{Addrs: c.Addrs(), Dial: c.Dial}
				of := func(dedicated bool) *node {
					if dedicated {
						return serve(t, dedicatedTo(cfg, topic.Name))
					}
					return serve(t, cfg)
				}
				pub, sub := of(who.pub), of(who.sub)
				sub.subscribe(t, topic, transport.Topic{Name: "cold"})
				pub.send(t, transport.Topic{Name: "cold"}, 1) // both halves of the publisher are known
				sub.await(t, "cold", func() bool { return len(sub.events) == 1 })
				sub.mu.Lock()
				sub.events = nil
				sub.mu.Unlock()
				pub.send(t, topic, 3)
				sub.complete(t, topic, 3)
				deaf(c, topic, func() { pub.send(t, topic, 5) })
				sub.complete(t, topic, 8)
				c.FailOver(0)
				pub.send(t, topic, 5)
				sub.complete(t, topic, 13)
			})
		})
	}
}
