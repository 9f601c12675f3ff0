package redis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport/redis"
)

// newBus returns a bus on the servers, which ends with the test.
func newBus(t testing.TB, addrs []string) *bus.Bus {
	t.Helper()
	return newBusWith(t, redis.Config{Addrs: addrs})
}

func newBusWith(t testing.TB, cfg redis.Config) *bus.Bus {
	t.Helper()
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
		if err := b.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
		if err := tr.Close(); err != nil {
			t.Errorf("close the transport: %v", err)
		}
	})
	return b
}

// newTopic binds a topic to a bus.
func newTopic[T any](t testing.TB, b *bus.Bus, cfg bus.TopicConfig[T]) *bus.Topic[T] {
	t.Helper()
	topic, err := bus.NewTopic(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// numbered is the n-th event of a key.
type numbered struct {
	Key string
	N   int
}

// TestPartitions: who never subscribed publishes to the channels that subscribers of a partitioned topic are on; these are
// the router's, at the primaries that own them; and each key keeps its order.
func TestPartitions(t *testing.T) {
	const partitions, keys, each = 12, 150, 40
	c := cluster.Cluster(t)
	cfg := bus.TopicConfig[numbered]{Name: "parts", Partitions: partitions, Key: func(e numbered) string { return e.Key }}
	departures := newTopic(t, newBus(t, c.Addrs()), cfg)

	var mu sync.Mutex
	next, used, count := map[string]int{}, map[int]bool{}, 0
	var wrong []string
	done := make(chan struct{})
	partition := func(inner bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			mu.Lock()
			used[d.Partition()] = true
			mu.Unlock()
			return inner(ctx, d)
		}
	}
	sub, err := newTopic(t, newBus(t, c.Addrs()), cfg).Subscribe(t.Context(), "sub", func(_ context.Context, e numbered) error {
		mu.Lock()
		defer mu.Unlock()
		if e.N != next[e.Key] {
			wrong = append(wrong, fmt.Sprintf("%s: %d, want %d", e.Key, e.N, next[e.Key]))
		}
		next[e.Key] = e.N + 1
		if count++; count == keys*each {
			close(done)
		}
		return nil
	}, bus.Lanes(4), bus.Use(partition))
	if err != nil {
		t.Fatal(err)
	}
	checkChannels(t, c, router.Placement{Topic: cfg.Name, Partitions: partitions})

	var publishers sync.WaitGroup
	for k := range keys {
		publishers.Go(func() {
			for n := range each {
				if err := departures.Publish(t.Context(), numbered{Key: fmt.Sprintf("key %d", k), N: n}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("not all within %v", patience)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(used) != partitions || count != keys*each || len(wrong) > 0 || len(sub.Gaps()) > 0 {
		t.Errorf("%d of %d events on %d partitions; gaps %v; out of order: %v",
			count, keys*each, len(used), sub.Gaps(), wrong[:min(len(wrong), 5)])
	}
}

// checkChannels checks that the cluster has exactly the placement's channels of its topic, each where the server's own
// idea of its slot says.
func checkChannels(t *testing.T, c *redistest.Cluster, placement router.Placement) {
	t.Helper()
	at := map[string][]string{} // channel to nodes
	for _, s := range c.Nodes() {
		reply, err := s.Do(t.Context(), "PUBSUB", "SHARDCHANNELS", "*"+placement.Topic+"*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range reply.([]any) {
			at[name.(string)] = append(at[name.(string)], s.Addr())
		}
	}
	for i := range placement.Len() {
		name := placement.Channel(i)
		slot, err := c.KeySlot(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		owner, err := c.PrimaryFor(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		if slot != placement.Slot(i) || !slices.Equal(at[name], []string{owner.Addr()}) {
			t.Errorf("%s: slot %d, want %d; subscribed at %v, want %s", name, placement.Slot(i), slot, at[name], owner.Addr())
		}
		delete(at, name)
	}
	if len(at) > 0 {
		t.Errorf("channels that are none of the topic's: %v", at)
	}
}

// shardTree returns what a bus says of one child of a primary.
func shardTree(b *bus.Bus, addr, child string) supervisor.Tree {
	node, _ := b.Tree().Find("transport", "shard "+addr, child)
	return node
}

// TestOneShardDown: when a primary dies, nothing of the other shards is restarted and their events flow; and each primary
// in turn shows in the tree as restarts of its own children, and of nobody else's.
func TestOneShardDown(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Config: redistest.Config{
		Directives: []string{"cluster-require-full-coverage no"},
	}})
	pub, sub := newBus(t, c.Addrs()), newBus(t, c.Addrs())
	arrived := make(map[string]chan int) // by address
	publish := make(map[string]func(n int) error)
	for i := 0; len(arrived) < 3; i++ {
		name := fmt.Sprintf("down.%d", i)
		owner, err := c.PrimaryForKey(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if arrived[owner.Addr()] != nil {
			continue
		}
		events := make(chan int, 100)
		arrived[owner.Addr()] = events
		cfg := bus.TopicConfig[int]{Name: name}
		if _, err := newTopic(t, sub, cfg).Subscribe(ctx, "s", func(_ context.Context, n int) error { events <- n; return nil }); err != nil {
			t.Fatal(err)
		}
		topic := newTopic(t, pub, cfg)
		publish[owner.Addr()] = func(n int) error { return topic.Publish(ctx, n) }
	}
	pass := func(addr string, n int) {
		t.Helper()
		if err := publish[addr](n); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case got := <-arrived[addr]:
				if got == n {
					return
				}
			case <-ctx.Done():
				t.Fatalf("%s: event %d did not arrive", addr, n)
			}
		}
	}
	for round, dead := range c.Nodes() {
		died := c.Nodes()[:round]
		before := map[string]uint64{}
		for addr := range arrived {
			pass(addr, 100*round)
			for _, child := range []string{"publisher", "subscriber"} {
				before[addr+child] = shardTree(sub, addr, child).Incarnation
			}
		}
		if err := dead.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the tree to show the dead shard", func() error {
			if n := shardTree(sub, dead.Addr(), "subscriber"); n.Incarnation <= before[dead.Addr()+"subscriber"]+1 || n.LastErr == nil {
				return fmt.Errorf("\n%v", sub.Tree())
			}
			return nil
		})
		for n := range 20 {
			for addr := range arrived {
				if addr != dead.Addr() {
					pass(addr, 100*round+n+1)
				}
			}
		}
		for addr := range arrived {
			for _, child := range []string{"publisher", "subscriber"} {
				switch n := shardTree(sub, addr, child); {
				case child == "publisher" && slices.ContainsFunc(died, func(s *redistest.Server) bool { return s.Addr() == addr }):
					// Who has nothing to publish learns late that its connection ended with the server.
				case addr == dead.Addr() && child == "subscriber" && n.Restarts == 0:
					t.Errorf("%s %s was not restarted:\n%v", addr, child, sub.Tree())
				case addr != dead.Addr() && (n.Incarnation != before[addr+child] || n.State != supervisor.StateRunning):
					t.Errorf("%s %s was incarnation %d:\n%v", addr, child, before[addr+child], sub.Tree())
				}
			}
		}
		if err := dead.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitHealthy(ctx); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the shard to be back", func() error {
			if n := shardTree(sub, dead.Addr(), "subscriber"); n.State != supervisor.StateRunning {
				return fmt.Errorf("\n%v", sub.Tree())
			}
			return nil
		})
	}
	if text := sub.Tree().String(); strings.Count(text, "shard ") != 3 {
		t.Errorf("\n%s", text)
	}
}

// TestManyTopics: 10,000 topics over 3 primaries are 3 subscriber connections.
func TestManyTopics(t *testing.T) {
	t.Parallel()
	const topics, callers, published = 10_000, 100, 2000
	c := cluster.Cluster(t)
	pub, sub := newBus(t, c.Addrs()), newBus(t, c.Addrs())
	arrived := make(chan struct{}, published)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range callers {
		wg.Go(func() {
			for i := w; i < topics; i += callers {
				topic, err := bus.NewTopic(sub, bus.TopicConfig[int]{Name: fmt.Sprintf("many.%d", i)})
				if err == nil {
					_, err = topic.Subscribe(t.Context(), "s", func(context.Context, int) error { arrived <- struct{}{}; return nil })
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	subscribed := time.Now()
	connections := 0
	for _, s := range c.Nodes() {
		reply, err := s.Do(t.Context(), "CLIENT", "LIST")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(reply.(string)) {
			// The other bus has connections without subscriptions.
			if strings.Contains(line, "name=shardbus-subscribe") && !strings.Contains(line, " ssub=0 ") {
				connections++
			}
		}
	}
	if connections != 3 {
		t.Errorf("%d subscriber connections", connections)
	}
	publishing := time.Now()
	for w := range callers {
		wg.Go(func() {
			for n := w; n < published; n += callers {
				i := n * (topics / published)
				topic, err := bus.NewTopic(pub, bus.TopicConfig[int]{Name: fmt.Sprintf("many.%d", i)})
				if err == nil {
					err = topic.Publish(t.Context(), i)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for n := range published {
		select {
		case <-arrived:
		case <-time.After(patience):
			t.Fatalf("%d of %d events", n, published)
		}
	}
	t.Logf("subscribed in %v, an event on every fifth in %v",
		subscribed.Sub(start).Round(time.Millisecond), time.Since(publishing).Round(time.Millisecond))
}
