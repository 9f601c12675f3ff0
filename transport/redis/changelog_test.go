package redis_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestTopologyIsToldOnce: a change is one line when it has settled, which says what changed.
func TestTopologyIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(t, fakecluster.Config{Primaries: 3, Replicas: 1})
		core, logs := observer.New(zap.InfoLevel)
		n := serve(t, redis.Config{Addrs: []string{c.Nodes()[0].Addr()}, Dial: c.Dial, Logger: zap.New(core)})
		told := func() []observer.LoggedEntry { return logs.FilterMessage("redis: topology changed").All() }
		time.Sleep(15 * time.Second)
		before := len(told())
		first, replica := c.Nodes()[0], c.ReplicasFor(0)[0]
		c.FailOverTo(replica)
		for range 3 { // slots move while it settles
			time.Sleep(300 * time.Millisecond)
			c.MigrateSlot(3, c.Nodes()[1])
			time.Sleep(300 * time.Millisecond)
			c.MigrateSlot(3, replica)
		}
		time.Sleep(15 * time.Second)
		all := told()[before:]
		if len(all) != 1 {
			t.Fatalf("%d lines: %v", len(all), all)
		}
		what, _ := all[0].ContextMap()["changes"].(string)
		for _, w := range []string{"promoted " + replica.Addr(), "demoted " + first.Addr(), "slots 0-"} {
			if !strings.Contains(what, w) {
				t.Errorf("%q does not say %q", what, w)
			}
		}
		n.stop()
	})
}

// TestLedgerAfterShutdown: what became of a topic's events can be read when the bus has ended, until another begins.
func TestLedgerAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(t, fakecluster.Config{Primaries: 1})
		tr, err := redis.Open(t.Context(), redis.Config{Addrs: []string{c.Nodes()[0].Addr()}, Dial: c.Dial})
		if err != nil {
			t.Fatal(err)
		}
		b, err := bus.New(bus.Config{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: 4})
		if _, err := topic.Subscribe(t.Context(), "s", func(context.Context, int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := topic.Publish(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // all have arrived
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := tr.Ledger(transport.Topic{Name: "n"}); l.Received != 10 {
			t.Errorf("after Shutdown: %+v", l)
		}
		again, err := bus.New(bus.Config{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		if l := tr.Ledger(transport.Topic{Name: "n"}); l != (redis.Ledger{}) {
			t.Errorf("of another bus: %+v", l)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
}
