package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport/redis"
)

// owned is a bus with a subscription of its own to the topic that it publishes on.
type owned struct {
	bus   *bus.Bus
	topic *bus.Topic[numbered]
	sub   *bus.Subscription
}

func newOwned(t *testing.T, addrs []string, name string, partitions int, cfg redis.Config) owned {
	t.Helper()
	cfg.Addrs = addrs
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(bus.Config{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close() // it has ended, as a rule
		if err := tr.Close(); err != nil {
			t.Errorf("close the transport: %v", err)
		}
	})
	o := owned{bus: b}
	o.topic = newTopic(t, b, bus.TopicConfig[numbered]{
		Name: name, Partitions: partitions, Key: func(e numbered) string { return e.Key },
	})
	if o.sub, err = o.topic.Subscribe(ctx, "own", func(context.Context, numbered) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o owned) publish(t *testing.T, events int) {
	t.Helper()
	for n := range events {
		if err := o.topic.Publish(t.Context(), numbered{Key: fmt.Sprint(n), N: n}); err != nil {
			t.Fatal(err)
		}
	}
}

func (o owned) shutdown(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return o.bus.Shutdown(ctx)
}

// TestShutdownGetsOwnEvents: a bus that shuts down right after Publish returned handles what it
// published itself first; also where the subscriber's connection was cut under the event, which is
// then sent again.
func TestShutdownGetsOwnEvents(t *testing.T) {
	servers := redistest.Standalone(t, redistest.Config{})
	c := cluster.Cluster(t)
	for _, tc := range []struct {
		name       string
		addrs      []string
		partitions int
		events     int
		cfg        redis.Config
		cut        bool
	}{
		{name: "standalone", addrs: []string{servers.Addr()}, events: 1},
		{name: "cluster", addrs: c.Addrs(), partitions: 6, events: 12},
		{name: "without-repair", addrs: []string{servers.Addr()}, events: 3, cfg: redis.Config{Repair: redis.Repair{Off: true}}},
		{name: "cut-off", addrs: []string{servers.Addr()}, events: 3, cut: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for round := range 40 {
				o := newOwned(t, tc.addrs, fmt.Sprintf("own-%s-%d", tc.name, round), tc.partitions, tc.cfg)
				if tc.cut {
					if _, err := servers.KillClients(t.Context(), "pubsub"); err != nil {
						t.Fatal(err)
					}
				}
				o.publish(t, tc.events)
				if err := o.shutdown(patience); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if st := o.sub.Stats(); st.Handled != uint64(tc.events) || len(o.sub.Gaps()) > 0 {
					t.Errorf("round %d: %d of %d events were handled: %v, gaps %v", round, st.Handled, tc.events, st, o.sub.Gaps())
				}
			}
		})
	}
}

// TestShutdownTellsWhatItLeaves: when the server hangs, Shutdown ends with its context; what its own
// subscription has not got is in the error and in a Gap.
func TestShutdownTellsWhatItLeaves(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	const events = 50
	lost := uint64(0)
	for round := range 5 {
		o := newOwned(t, []string{s.Addr()}, fmt.Sprintf("left-%d", round), 0, redis.Config{})
		// The server ends the subscriber's connection, and hangs before that is made again.
		o.publish(t, 1)
		if _, err := s.KillClients(t.Context(), "pubsub"); err != nil {
			t.Fatal(err)
		}
		o.publish(t, events-1)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		err := o.shutdown(300 * time.Millisecond)
		if err := s.Cont(); err != nil {
			t.Fatal(err)
		}
		st := o.sub.Stats()
		if st.Handled+st.Abandoned+st.Lost != events || st.Lost > 0 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d published events", st.Lost))) {
			t.Errorf("round %d: %v; %v, gaps %v", round, err, st, o.sub.Gaps())
		}
		lost += st.Lost
	}
	if lost == 0 {
		t.Error("it left nothing: the server's hanging showed nothing")
	}
	t.Logf("%d events were in gaps", lost)
}
