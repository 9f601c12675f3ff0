package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestRESP2: with a server that speaks RESP2 only, all works as with others: subscriptions stay, and hear; they end; what
// shows a dead connection does not take a live one for dead.
func TestRESP2(t *testing.T) {
	t.Parallel()
	s := redistest.Standalone(t, redistest.Config{Password: "secret", Directives: []string{`rename-command HELLO ""`}})
	cfg := redis.Config{Addrs: []string{s.Addr()}, Password: "secret", ProbeInterval: 20 * time.Millisecond}
	if err := finds(check(t, cfg), redis.Note, s.Addr(), "protocol", "RESP2 only"); err != nil {
		t.Error(err)
	}
	n := serve(t, cfg)
	n.subscribe(t, transport.Topic{Name: "orders"}, transport.Topic{Name: "parts", Partitions: 8})
	subscriber := func() string {
		reply, err := s.Do(t.Context(), "CLIENT", "LIST")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(reply.(string)) {
			if strings.Contains(line, "name=shardbus-subscribe") {
				return strings.Fields(line)[0]
			}
		}
		return "none"
	}
	before := subscriber()
	const events = 200
	for i := range events {
		if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: fmt.Sprint(i), Payload: []byte(`"` + strings.Repeat("x", i*300) + `"`)}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	n.await(t, "the events", func() bool { return len(n.events) == events })
	eventually(t, "a hundred probes", func() error {
		stats, err := s.Do(t.Context(), "INFO", "commandstats")
		if err != nil {
			return err
		}
		_, after, _ := strings.Cut(stats.(string), "cmdstat_spublish:calls=")
		calls, _, _ := strings.Cut(after, ",")
		if n, err := strconv.Atoi(calls); err != nil || n < events+100 {
			return fmt.Errorf("%s calls of SPUBLISH", calls)
		}
		return nil
	})
	if after := subscriber(); after != before || before == "none" {
		t.Errorf("the subscriber's connection is %s, it was %s", after, before)
	}
	if err := n.Unsubscribe(t.Context(), transport.Topic{Name: "orders"}); err != nil {
		t.Error(err)
	}
	if res := n.publish(t.Context(), transport.Envelope{Topic: "parts", Partitions: 8, Partition: 3, Publisher: "p", ID: "a"}); res.Err != nil {
		t.Fatal(res.Err)
	}
	n.await(t, "the partition's event", func() bool { return len(n.events) == events+1 })
	if after := subscriber(); after != before {
		t.Errorf("the subscriber's connection is %s, it was %s", after, before)
	}
	if len(n.gaps) > 0 {
		t.Errorf("gaps %v", n.gaps)
	}
	if err := open(t, redis.Config{Addrs: []string{s.Addr()}, Password: "wrong"}); !errors.Is(err, redis.ErrAuth) {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestRESP2Cluster: likewise in a cluster, where a slot that moves takes its subscriptions away.
func TestRESP2Cluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, redistest.ClusterConfig{Config: redistest.Config{Directives: []string{`rename-command HELLO ""`}}, Replicas: 1})
	f := startFlowAt(t, redis.Config{Addrs: c.Addrs()}, 6, flowEvery)
	f.flowing(t)
	primaries, err := c.Primaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	replicas, err := c.Replicas(t.Context(), primaries[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.FailOver(t.Context(), replicas[0], redistest.Graceful); err != nil {
		t.Fatal(err)
	}
	f.flowing(t)
	f.stop()
	f.settle(t) // a publisher that has ended repairs nothing
	f.check(t)
}

// TestRESP2Rotation: a subscriber's connection cannot log in again, so it is made anew, with what is asked for then.
func TestRESP2Rotation(t *testing.T) {
	t.Parallel()
	s := redistest.Standalone(t, redistest.Config{Directives: []string{`rename-command HELLO ""`, "user app on >one >two ~* &* +@all", "user default off"}})
	var password atomic.Pointer[string]
	one, two := "one", "two"
	password.Store(&one)
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, Credentials: func(context.Context, string) (redis.Credentials, error) {
		return redis.Credentials{Username: "app", Password: *password.Load()}, nil
	}})
	n.subscribe(t, transport.Topic{Name: "orders"})
	password.Store(&two)
	if err := n.Reauthenticate(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t, s, "ACL", "SETUSER", "app", "<one")
	eventually(t, "an event", func() error {
		if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "1"}); res.Err != nil {
			return res.Err
		}
		if len(n.received()) == 0 {
			return errors.New("nothing arrived")
		}
		return nil
	})
}
