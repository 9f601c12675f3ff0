package redis_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestMovedInCircles: a node that sends us to itself, or to a node that nobody knows, is asked a few times a second, and
// who waits is told what is wrong. Other topics at that node go on, and all do when it has come to its senses.
func TestMovedInCircles(t *testing.T) {
	for _, c := range []struct {
		name, words string
		to          func(owner string) string
	}{
		{"itself", "it sends us to itself", func(owner string) string { return owner }},
		{"itself, unnamed", "it sends us to itself", func(owner string) string { return owner[strings.LastIndexByte(owner, ':'):] }},
		{"a node of nobody", "it sends us to 192.0.2.77:7, which no node has named", func(string) string { return "192.0.2.77:7" }},
		{"nowhere", "it names no address to go to", func(string) string { return "?:7" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				servers := fakecluster.New(t, fakecluster.Config{Primaries: 1})
				n := serve(t, redis.Config{Addrs: servers.Addrs(), Dial: servers.Dial})
				topic := transport.Topic{Name: "lost"}
				n.subscribe(t, transport.Topic{Name: "other"})
				slot := router.Slot(topic.Name)
				wrong := fmt.Sprintf("MOVED %d %s", slot, c.to(servers.PrimaryFor(slot).Addr()))
				about := func(call fakecluster.Call) fakecluster.Outcome {
					for _, word := range call.Args {
						if word == topic.Name {
							return fakecluster.ReplyError(wrong)
						}
					}
					return fakecluster.Pass()
				}
				tries := map[string]*atomic.Int64{"SPUBLISH": new(atomic.Int64), "SSUBSCRIBE": new(atomic.Int64)}
				ends := []func(){}
				for command, count := range tries {
					ends = append(ends, servers.Fault(nil, command, func(call fakecluster.Call) fakecluster.Outcome {
						out := about(call)
						if out != fakecluster.Pass() {
							count.Add(1)
						}
						return out
					}))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				subscribed := make(chan error, 1)
				go func() { subscribed <- n.Subscribe(ctx, topic) }()
				published := make(chan error, 1)
				go func() {
					published <- n.publish(ctx, transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "1"}).Err
				}()
				time.Sleep(10 * time.Second)
				began := time.Now()
				if res := n.publish(ctx, transport.Envelope{Topic: "other", Publisher: "p", ID: "1"}); res.Err != nil {
					t.Error(res.Err)
				}
				if took := time.Since(began); took > 50*time.Millisecond {
					t.Errorf("an event of another topic took %v", took)
				}
				for what, done := range map[string]chan error{"Subscribe": subscribed, "Publish": published} {
					if err := <-done; err == nil || !strings.Contains(err.Error(), c.words) {
						t.Errorf("%s: %v; want %q", what, err, c.words)
					}
				}
				for command, count := range tries {
					if n := count.Load(); n > 150 { // in 15 s
						t.Errorf("%d tries of %s", n, command)
					}
				}
				for _, end := range ends {
					end()
				}
				n.subscribe(t, topic)
				if res := n.publish(t.Context(), transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "2"}); res.Err != nil {
					t.Error(res.Err)
				}
				n.await(t, "the event", func() bool { return len(n.events) >= 2 })
				n.stop()
			})
		})
	}
}
