package durabletest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// countStore is where actors save how many events of their key they have seen.
type countStore struct {
	t      *testing.T
	mu     sync.Mutex
	counts map[string]int
	living map[string]int // actors of a key
	stops  int
}

// build makes an actor that loads its count, and saves it when it stops. Both take time.
func (c *countStore) build(_ context.Context, key string) (bus.Actor[order], error) {
	time.Sleep(time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[key]
	if c.living[key]++; c.living[key] > 1 {
		c.t.Errorf("there are %d actors of %s", c.living[key], key)
	}
	return bus.Actor[order]{
		Handle: func(_ context.Context, o order) error {
			time.Sleep(time.Millisecond)
			if n++; o.N != n {
				c.t.Errorf("the actor of %s has seen %d events, and gets %d", key, n-1, o.N)
				n = o.N
			}
			return nil
		},
		Stop: func(context.Context) error {
			time.Sleep(5 * time.Millisecond)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.counts[key] = n
			c.living[key]--
			c.stops++
			return nil
		},
	}, nil
}

// The actors of a group are spread over buses. When a partition moves, each is stopped before another bus
// builds it, so that its state goes with it; that holds of a name that stands by, too.
func TestActorsMoveWithTheirState(t *testing.T) {
	for what, opts := range map[string][]bus.ActorOption{"a group": {bus.Group("counters")}, "a name": nil} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s/%d", what, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { actorsMove(t, seed, opts) })
			})
		}
	}
}

func actorsMove(t *testing.T, seed uint64, opts []bus.ActorOption) {
	const partitions, keys, events = 4, 12, 40
	r := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // of a test
	store := memory.NewLog()
	saved := &countStore{t: t, counts: make(map[string]int), living: make(map[string]int)}
	publisher, stop := start(t, store)
	source := orders(t, publisher, partitions)
	type node struct {
		bus   *bus.Bus
		topic *bus.Topic[order]
		sub   *bus.Subscription
	}
	spawn := func(n *node) {
		t.Helper()
		var err error
		n.sub, err = n.topic.Spawn(t.Context(), "counter", saved.build, append(opts, bus.Lanes(3), bus.From(bus.Earliest()))...)
		if err != nil {
			t.Fatal(err)
		}
	}
	join := func() *node {
		t.Helper()
		b, err := bus.New(bus.Config{Log: store.Connect()})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{bus: b, topic: orders(t, b, partitions)}
		spawn(n)
		return n
	}
	nodes := []*node{join(), join()}
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := 1; n <= events; n++ {
			for key := range keys {
				if err := source.Publish(t.Context(), order{fmt.Sprintf("k%d", key), n}); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	for range 25 {
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
		i := r.IntN(len(nodes))
		n := nodes[i]
		switch r.IntN(4) {
		case 0:
			if len(nodes) < 4 {
				nodes = append(nodes, join())
			}
		case 1:
			if err := n.sub.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			checkEnd(t, n.sub)
			spawn(n)
		case 2:
			if err := n.bus.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			checkEnd(t, n.sub)
			nodes[i] = join()
		}
	}
	publishing.Wait()
	pass(time.Minute)
	for _, n := range nodes {
		if err := n.bus.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		checkEnd(t, n.sub)
	}
	stop()
	for key := range keys {
		if n := saved.counts[fmt.Sprintf("k%d", key)]; n != events {
			t.Errorf("of k%d %d events were counted", key, n)
		}
	}
	if saved.stops <= keys {
		t.Errorf("%d actors were stopped: nothing has moved", saved.stops)
	}
	checkPositions(t, store.Connect())
}

// An actor whose partition is lost is dropped without Stop, and the next event builds one.
func TestActorOfALostPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, memory.NewLog())
		topic := orders(t, b, 0)
		built, stopped, last := 0, 0, 0
		_, err := topic.Spawn(t.Context(), "counter", func(context.Context, string) (bus.Actor[order], error) {
			built++
			n := 0
			return bus.Actor[order]{
				Handle: func(context.Context, order) error { n++; last = n; return nil },
				Stop:   func(context.Context) error { stopped++; return nil },
			}, nil
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 0, 5)
		settle()
		if err := topic.Seek(t.Context(), "counter", bus.Earliest()); err != nil {
			t.Fatal(err)
		}
		settle()
		if built != 2 || stopped != 0 || last != 5 {
			t.Errorf("%d were built, %d stopped, the last has seen %d events", built, stopped, last)
		}
		stop()
		if stopped != 1 {
			t.Errorf("%d were stopped in the end", stopped)
		}
	})
}

// An actor whose Stop panics, or ends its goroutine, does not keep its partition.
func TestActorStopFails(t *testing.T) {
	for name, fail := range map[string]func(){"panics": func() { panic("never") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.NewLog()
				b, stop := start(t, store)
				topic := orders(t, b, 0)
				sub, err := topic.Spawn(t.Context(), "counter", func(context.Context, string) (bus.Actor[order], error) {
					return bus.Actor[order]{
						Handle: func(context.Context, order) error { return nil },
						Stop:   func(context.Context) error { fail(); return nil },
					}, nil
				}, bus.From(bus.Earliest()))
				if err != nil {
					t.Fatal(err)
				}
				for i := range 5 {
					if err := topic.Publish(t.Context(), order{fmt.Sprint(i), i}); err != nil {
						t.Fatal(err)
					}
				}
				settle()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := sub.Drain(ctx); err != nil {
					t.Error(err)
				}
				checkEnd(t, sub)
				stop()
				checkPositions(t, store.Connect())
			})
		})
	}
}

// A group of actors has one subscription on a bus, which can't be replaced; of a topic that is not durable
// there is none.
func TestActorGroupRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, memory.NewLog())
		defer stop()
		topic := orders(t, b, 2)
		saved := &countStore{t: t, counts: make(map[string]int), living: make(map[string]int)}
		group := bus.Group("g")
		if _, err := topic.Spawn(t.Context(), "one", saved.build, group); err != nil {
			t.Fatal(err)
		}
		got := make(recorder, 10)
		got.subscribe(t, topic, "plain", bus.Group("others"))
		plain, err := bus.NewTopic(b, bus.TopicConfig[order]{Name: "plain", Key: func(o order) string { return o.Customer }})
		if err != nil {
			t.Fatal(err)
		}
		for what, do := range map[string]struct {
			call func() error
			want error
		}{
			"two sets": {func() error { _, err := topic.Spawn(t.Context(), "two", saved.build, group); return err }, bus.ErrDuplicateSubscription},
			"a handler beside": {func() error {
				_, err := topic.SubscribeMessage(t.Context(), "two", got.handle, group)
				return err
			}, bus.ErrDuplicateSubscription},
			"actors beside a handler": {func() error {
				_, err := topic.Spawn(t.Context(), "two", saved.build, bus.Group("others"))
				return err
			}, bus.ErrDuplicateSubscription},
			"respawn":     {func() error { _, err := topic.Respawn(t.Context(), "one", saved.build); return err }, bus.ErrInvalidConfig},
			"replace":     {func() error { _, err := topic.ReplaceMessage(t.Context(), "one", got.handle); return err }, bus.ErrInvalidConfig},
			"not durable": {func() error { _, err := plain.Spawn(t.Context(), "two", saved.build, group); return err }, bus.ErrNotDurable},
		} {
			if err := do.call(); !errors.Is(err, do.want) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
