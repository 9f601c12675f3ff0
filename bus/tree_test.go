package bus_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport/memory"
)

func TestTreeShowsTransportSubscriptionsAndLanes(t *testing.T) {
	b := newBus(t, bus.Config{Transport: memory.NewBroker().Connect()})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	handled := make(chan struct{})
	s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
		defer func() { handled <- struct{}{} }()
		if n == 1 {
			panic("one")
		}
		return nil
	})
	publish(t, topic, 0, 1, 2)
	for range 3 {
		<-handled
	}
	tree := b.Tree()
	if n, ok := tree.Find("transport"); !ok || n.State != supervisor.StateRunning {
		t.Errorf("transport: %+v", n)
	}
	lane, ok := tree.Find("subscriptions", "n/s", "lane 0")
	if !ok || lane.Restarts != 1 || lane.LastErr == nil || !strings.Contains(lane.LastErr.Error(), "one") {
		t.Errorf("lane: %+v", lane)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := b.Tree().Find("subscriptions", "n/s"); ok {
		t.Error("a drained subscription is still in the tree")
	}
	t.Log("\n" + tree.String())
}

// An actor that panicked is a node of its own, until it has been healthy.
func TestTreeShowsActorsThatPanicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		spawn(t, topic, (&stage{}).counter)
		publish(t, topic, event{"good", 1}, event{"bad", -1})
		synctest.Wait()
		node, ok := b.Tree().Find("subscriptions", "n/actors", "actor bad")
		if !ok || node.Restarts != 1 || node.LastErr == nil {
			t.Errorf("%+v in\n%v", node, b.Tree())
		}
		if _, ok := b.Tree().Find("subscriptions", "n/actors", "actor good"); ok {
			t.Error("an actor that never failed is listed")
		}
		if lane, ok := b.Tree().Find("subscriptions", "n/actors", "lane 0"); !ok || lane.Restarts != 0 {
			t.Errorf("%+v", lane)
		}
		time.Sleep(10 * time.Minute)
		if _, ok := b.Tree().Find("subscriptions", "n/actors", "actor bad"); ok {
			t.Error("it is listed still, long after")
		}
	})
}
