package redis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestStandbyAfterMigration: what a node said last of a slot that it gave away may arrive after everybody knows the new
// owner. When that dies later, the slot's events go to its replica as all others do.
func TestStandbyAfterMigration(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0.15", "7.2.4"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: version})
				f := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true}, 3, 20*time.Millisecond)
				for range 3 { // so that several of the topic are under way at once
					f.workers.Go(func() { f.run(f.topics[0]) })
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(time.Second)
				slot := router.Slot(f.topics[0])
				from, to := c.PrimaryFor(slot), c.PrimaryFor((slot+router.Slots/3)%router.Slots)
				slow := c.Fault(from, "SPUBLISH", fakecluster.Always(fakecluster.Delay(60*time.Millisecond)))
				time.Sleep(100 * time.Millisecond)
				c.MigrateSlot(slot, to)
				time.Sleep(time.Second)
				slow()
				time.Sleep(5 * time.Second)
				f.flowing(t)
				f.sub.silence()
				c.Kill(to)
				time.Sleep(time.Second)
				f.flowing(t)
				if hole := f.sub.silence(); hole > 50*time.Millisecond {
					t.Errorf("a topic was silent for %v", hole)
				}
				c.FailOver(c.Shard(slot))
				f.flowing(t)
				f.check(t)
			})
		})
	}
}

// TestRedirectToNowhere: a slot goes to a primary that nobody is connected to, and back before anybody asks who has it. Its
// events go on.
func TestRedirectToNowhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		empty, other := c.Nodes()[2], c.Nodes()[1]
		c.MigrateSlots(10923, 16383, other)
		f := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial}, 6, 20*time.Millisecond)
		time.Sleep(time.Second)
		slot := router.Slot(f.topics[0])
		from := c.PrimaryFor(slot)
		slow := c.Fault(nil, "CLUSTER", fakecluster.Always(fakecluster.Delay(200*time.Millisecond)))
		time.Sleep(3 * time.Second) // every question that is asked now is slow
		f.sub.silence()
		c.MigrateSlot(slot, empty)
		time.Sleep(25 * time.Millisecond)
		c.MigrateSlot(slot, from)
		time.Sleep(3 * time.Second)
		slow()
		f.flowing(t)
		if hole := f.sub.silence(); hole > 2*time.Second {
			t.Errorf("a topic was silent for %v", hole)
		}
		f.check(t)
	})
}
