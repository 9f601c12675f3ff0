package fakecluster_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// A fail-over, a slot's migration and ten minutes of quiet, as an application meets them.
func TestOrdersSurviveAFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		tr, err := redis.Open(t.Context(), redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
		if err != nil {
			t.Fatal(err)
		}
		b, err := bus.New(bus.Config{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := orders.Subscribe(t.Context(), "billing", func(context.Context, string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}

		slot := router.Slot("orders")
		for _, fault := range []func(){
			func() { c.Kill(c.PrimaryFor(slot)); c.FailOver(c.Shard(slot)) },
			func() { c.MigrateSlot(slot, c.Nodes()[1]) },
			func() { time.Sleep(10 * time.Minute) },
		} {
			fault()
			time.Sleep(time.Minute) // in which it finds its way
			handled := sub.Stats().Handled
			if err := orders.Publish(t.Context(), "o-1"); err != nil {
				t.Fatal(err)
			}
			bustest.WaitHandled(t, sub, int(handled)+1)
		}

		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
}
