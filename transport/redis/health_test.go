package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestHealth: a killed primary is down by its address, the tree says so, it is a warning after 8 s, and when it is back
// all is well again.
func TestHealth(t *testing.T) {
	for _, dedicated := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Config{Primaries: 3})
			core, logs := observer.New(zap.InfoLevel)
			tr, err := redis.Open(t.Context(), redis.Config{
				Addrs: []string{c.Nodes()[0].Addr()}, Dial: c.Dial, Logger: zap.New(core),
				Topics: map[string]redis.TopicConfig{"own": {Dedicated: dedicated}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if h := tr.Health(); len(h.Down) != 1 {
				t.Errorf("not served: %v", h.Down)
			}
			b, err := bus.New(bus.Config{Transport: tr})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: 12}).Subscribe(t.Context(), "s",
				func(context.Context, int) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if err := b.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tree := b.Tree(); tree.State != supervisor.StateRunning || strings.Contains(tree.String(), "starting") {
				t.Errorf("when all is well:\n%v", tree)
			}

			dead := c.Nodes()[1]
			c.Kill(dead)
			time.Sleep(3 * time.Second)
			err = b.Health().Ready()
			if err == nil || !strings.Contains(err.Error(), "shard "+dead.Addr()) || strings.Contains(err.Error(), c.Nodes()[2].Addr()) {
				t.Errorf("one is dead: %v", err)
			}
			if err := b.Health().Live(); err != nil {
				t.Error(err)
			}
			tree := b.Tree()
			node, _ := tree.Find("transport", "shard "+dead.Addr())
			well, _ := tree.Find("transport", "shard "+c.Nodes()[2].Addr())
			if tree.State != supervisor.StateStarting || node.State != supervisor.StateStarting || well.State != supervisor.StateRunning {
				t.Errorf("one is dead:\n%v", tree)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := b.Ready(ctx); !errors.Is(err, bus.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one is dead: %v", err)
			}
			away := func() int { return logs.FilterMessageSnippet("a primary is away").Len() }
			if n := away(); n != 0 {
				t.Errorf("%d warnings after 4 s", n)
			}
			time.Sleep(8 * time.Second)
			if n := away(); n != 1 && !dedicated || n != 2 && dedicated {
				t.Errorf("%d warnings after 12 s: %v", n, logs.FilterMessageSnippet("away").All())
			}
			c.Restart(dead)
			if err := b.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			if strings.Contains(b.Tree().String(), "starting") {
				t.Errorf("it is back:\n%v", b.Tree())
			}
			time.Sleep(2 * time.Second)
			if logs.FilterMessageSnippet("is back").Len() == 0 {
				t.Error("nobody says that it is back")
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTreeStartsAsStarting: a node that does not answer is not running, however long its connections are being made.
func TestTreeStartsAsStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(t, fakecluster.Config{Primaries: 3})
		n := serve(t, redis.Config{Addrs: []string{c.Nodes()[0].Addr()}, Dial: c.Dial, CommandTimeout: time.Minute})
		c.Pause(c.Nodes()[1])
		time.Sleep(time.Second)
		c.Kill(c.Nodes()[1])
		c.Restart(c.Nodes()[1])
		c.Pause(c.Nodes()[1])
		time.Sleep(10 * time.Second)
		node, ok := n.Tree().Find("shard " + c.Nodes()[1].Addr())
		if !ok || node.State != supervisor.StateStarting {
			t.Errorf("it hangs while it is dialled:\n%v", n.Tree())
		}
		c.Unpause(c.Nodes()[1])
		time.Sleep(5 * time.Second)
		if node, _ := n.Tree().Find("shard " + c.Nodes()[1].Addr()); node.State != supervisor.StateRunning {
			t.Errorf("it answers:\n%v", n.Tree())
		}
		n.stop()
	})
}
