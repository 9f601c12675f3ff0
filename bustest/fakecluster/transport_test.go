package fakecluster_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// inbox is a bus that keeps what arrives.
type inbox struct {
	events chan *transport.Envelope
	gaps   chan transport.Gap
}

func (i *inbox) Deliver(env *transport.Envelope) { i.events <- env }
func (i *inbox) Gap(g transport.Gap)             { i.gaps <- g }

// serveTransport opens the real transport on a fake cluster and serves it until the test's end.
func serveTransport(t *testing.T, cfg redis.Config) (*redis.Transport, *inbox) {
	t.Helper()
	tr, err := redis.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	box := &inbox{events: make(chan *transport.Envelope, 1000), gaps: make(chan transport.Gap, 1000)}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := tr.Serve(ctx, box); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		serving.Wait()
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr, box
}

// publishUntilSeen publishes numbered events, one every 20 ms, until one of them arrives.
func publishUntilSeen(t *testing.T, tr *redis.Transport, box *inbox, topic, what string) {
	t.Helper()
	for i := range 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
		results := make([]transport.Result, 1)
		tr.Publish(ctx, []*transport.Envelope{{Topic: topic, Publisher: "p", ID: fmt.Sprintf("%s-%d", what, i), Payload: []byte(what)}}, results)
		cancel()
		if results[0].Err != nil {
			t.Fatalf("%s: publish: %v", what, results[0].Err)
		}
		select {
		case env := <-box.events:
			if string(env.Payload) == what {
				return
			}
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("%s: nothing arrives", what)
}

// transportLives runs the real transport through a round trip, a fail-over of each kind and a migration.
func transportLives(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
	t.Helper()
	topic := channelAt(t, c, 0)
	slot := router.Slot(topic)
	pub, _ := serveTransport(t, cfg)
	sub, box := serveTransport(t, cfg)
	if err := sub.Subscribe(t.Context(), transport.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	publishUntilSeen(t, pub, box, topic, "round trip")

	old := c.PrimaryFor(slot)
	c.Kill(old)
	c.FailOver(c.Shard(slot))
	publishUntilSeen(t, pub, box, topic, "after kill")
	c.Restart(old)
	c.FailOverTo(old)
	publishUntilSeen(t, pub, box, topic, "after a graceful fail-over")
	c.MigrateSlot(slot, c.Nodes()[1])
	publishUntilSeen(t, pub, box, topic, "after a migration")
	c.Pause(c.Nodes()[1])
	c.FailOver(c.Shard(slot))
	publishUntilSeen(t, pub, box, topic, "after a hang")
	c.Unpause(c.Nodes()[1])
	if err := sub.Unsubscribe(t.Context(), transport.Topic{Name: topic}); err != nil {
		t.Error(err)
	}
	if n := c.Subscribers(topic); n != 0 {
		t.Errorf("%d are subscribed still", n)
	}
}

func TestTransportOverTCP(t *testing.T) {
	for _, version := range []string{"7.0.15", "7.2.4"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: version, TCP: true})
			transportLives(t, c, redis.Config{Addrs: c.Addrs()})
		})
	}
}

func TestTransportOnAStandaloneServer(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Config{Standalone: true, TCP: true})
	tr, box := serveTransport(t, redis.Config{Addrs: c.Addrs()})
	if err := tr.Subscribe(t.Context(), transport.Topic{Name: "topic"}); err != nil {
		t.Fatal(err)
	}
	publishUntilSeen(t, tr, box, "topic", "round trip")
}
