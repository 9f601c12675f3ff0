package streamlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap/zaptest"
)

// paid is an event of the fault tests: the nth of its key.
type paid struct {
	Key string
	N   int
}

func paidTopic(partitions int) bus.TopicConfig[paid] {
	return bus.TopicConfig[paid]{Name: "paid", Class: bus.Durable, Partitions: partitions, Key: func(p paid) string { return p.Key }}
}

// process is a bus with the log of the servers, as a process of an application has one.
type process struct {
	transport *redis.Transport
	bus       *bus.Bus
	topic     *bus.Topic[paid]
}

func start(t *testing.T, addrs []string, topic bus.TopicConfig[paid]) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := redis.Open(ctx, redis.Config{Addrs: addrs, Lease: 2 * time.Second, Logger: zaptest.NewLogger(t, zaptest.Level(zaptest.NewLogger(t).Level()+1))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	b, err := bus.New(bus.Config{Transport: r})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{transport: r, bus: b}
	t.Cleanup(func() { _ = b.Close() })
	if p.topic, err = bus.NewTopic(b, topic); err != nil {
		t.Fatal(err)
	}
	return p
}

// ledger is what handlers saw.
type ledger struct {
	mu    sync.Mutex
	first map[paid]bool
	last  map[string]int // by key: the highest first delivery
	again int
	wrong []string
}

func (l *ledger) handle(_ context.Context, e paid) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first[e] {
		l.again++
		return nil
	}
	l.first[e] = true
	if e.N < l.last[e.Key] {
		l.wrong = append(l.wrong, fmt.Sprintf("%s: %d behind %d", e.Key, e.N, l.last[e.Key]))
	}
	l.last[e.Key] = max(l.last[e.Key], e.N)
	return nil
}

// TestReplicas asks for a replica, which then hangs: the event is there, and Publish says what it lacks.
func TestReplicas(t *testing.T) {
	redistest.Require(t)
	c, err := redistest.StartCluster(t.Context(), redistest.ClusterConfig{Primaries: 3, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	config := paidTopic(0)
	config.Replicas = 1
	p := start(t, c.Addrs(), config)
	if err := p.topic.Publish(t.Context(), paid{"a", 1}); err != nil {
		t.Fatal(err)
	}
	primary, err := c.PrimaryFor(t.Context(), router.Placement{Topic: "paid"}.Slot(0))
	if err != nil {
		t.Fatal(err)
	}
	replicas, err := c.Replicas(t.Context(), primary)
	if err != nil || len(replicas) != 1 {
		t.Fatalf("%d replicas, %v", len(replicas), err)
	}
	if err := replicas[0].Stop(); err != nil {
		t.Fatal(err)
	}
	var receipt bus.Receipt
	err = p.topic.Publish(t.Context(), paid{"a", 2}, bus.ReceiptTo(&receipt))
	if !errors.Is(err, transport.ErrNotReplicated) || receipt.Offset != 2 {
		t.Errorf("offset %d, %v; want offset 2 and ErrNotReplicated", receipt.Offset, err)
	}
	if err := replicas[0].Cont(); err != nil {
		t.Fatal(err)
	}
	for n := 3; ; n++ { // until the primary has heard of it
		err := p.topic.Publish(t.Context(), paid{"a", n})
		if err == nil {
			break
		}
		if !errors.Is(err, transport.ErrNotReplicated) {
			t.Fatal(err)
		}
	}
}

// TestFaults has servers and connections fail while two processes consume as a group, and a third one
// dies and comes back: what Publish accepted is in the streams once, is handled, and keeps its order
// by key. What a primary had that was killed is on a replica, since Publish waits for one.
func TestFaults(t *testing.T) {
	redistest.Require(t)
	const partitions, keys = 6, 40
	c, err := redistest.StartCluster(t.Context(), redistest.ClusterConfig{Primaries: 3, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	seen := &ledger{first: make(map[paid]bool), last: make(map[string]int)}
	consume := func() *process {
		config := paidTopic(partitions)
		config.Replicas = 1
		p := start(t, c.Addrs(), config)
		if _, err := p.topic.Subscribe(t.Context(), "biller", seen.handle, bus.Group("billing"), bus.From(bus.Earliest()), bus.Lanes(4)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	config := paidTopic(partitions)
	config.Replicas = 1
	publisher, _, dying := start(t, c.Addrs(), config), consume(), consume()

	accepted := make(map[paid]bool)
	var failed []error
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			for k := range keys {
				select {
				case <-stop:
					return
				default:
				}
				e := paid{fmt.Sprintf("k%d", k), n}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				switch err := publisher.topic.Publish(ctx, e); {
				case errors.Is(err, transport.ErrNotReplicated), errors.Is(err, transport.ErrUncertain):
					// It may be there, or not: it counts for nothing.
				case err != nil:
					failed = append(failed, err)
				default:
					accepted[e] = true
				}
				cancel()
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	placement := router.Placement{Topic: "paid", Partitions: partitions}
	faults := map[string]func() error{
		"script flush": func() error {
			for _, s := range c.Nodes() {
				if _, err := s.Do(ctx, "SCRIPT", "FLUSH"); err != nil {
					return err
				}
			}
			return nil
		},
		"client kill": func() error {
			for _, s := range c.Nodes() {
				if _, err := s.KillClients(ctx, "normal"); err != nil {
					return err
				}
				if _, err := s.KillClients(ctx, "pubsub"); err != nil {
					return err
				}
			}
			return nil
		},
		"migration": func() error {
			slot := placement.Slot(rand.N(partitions))
			owner, err := c.PrimaryFor(ctx, slot)
			if err != nil {
				return err
			}
			primaries, err := c.Primaries(ctx)
			if err != nil {
				return err
			}
			to := slices.DeleteFunc(primaries, func(s *redistest.Server) bool { return s == owner })
			return c.MigrateSlot(ctx, slot, to[rand.N(len(to))])
		},
		"fail-over in order": func() error {
			primaries, err := c.Primaries(ctx)
			if err != nil {
				return err
			}
			replicas, err := c.Replicas(ctx, primaries[rand.N(len(primaries))])
			if err != nil || len(replicas) == 0 {
				return err
			}
			return c.FailOver(ctx, replicas[0], redistest.Graceful)
		},
		"primary is killed": func() error {
			slot := placement.Slot(rand.N(partitions))
			s, err := c.PrimaryFor(ctx, slot)
			if err != nil {
				return err
			}
			if err := s.Kill(); err != nil {
				return err
			}
			if _, err := c.WaitNewPrimary(ctx, slot, s); err != nil {
				return err
			}
			if err := s.Restart(ctx); err != nil {
				return err
			}
			return c.WaitHealthy(ctx)
		},
		"hung primary": func() error {
			primaries, err := c.Primaries(ctx)
			if err != nil {
				return err
			}
			s := primaries[rand.N(len(primaries))]
			if err := s.Stop(); err != nil {
				return err
			}
			time.Sleep(300 * time.Millisecond) // shorter than the node timeout: nobody takes over
			return s.Cont()
		},
		"consumer dies": func() error {
			err := dying.transport.Close() // no lease is released
			_ = dying.bus.Close()
			dying = consume()
			return err
		},
	}
	names := []string{"script flush", "client kill", "migration", "fail-over in order", "hung primary", "consumer dies", "migration", "primary is killed", "primary is killed"}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		t.Log(name)
		if err := faults[name](); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	close(stop)
	<-done
	for _, err := range failed {
		t.Errorf("Publish: %v", err)
	}
	handledAll := func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		for e := range accepted {
			if !seen.first[e] {
				return false
			}
		}
		return true
	}
	for !handledAll() && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	missing := 0
	for e := range accepted {
		if !seen.first[e] {
			missing++
		}
	}
	t.Logf("%d accepted, %d handled, %d again", len(accepted), len(seen.first), seen.again)
	if missing > 0 {
		t.Errorf("%d accepted events were not handled", missing)
	}
	for _, w := range seen.wrong {
		t.Errorf("out of order: %s", w)
	}
	compareStreams(ctx, t, c, placement, accepted)
}

// compareStreams reads the streams as redis-cli would, and finds each accepted event there once.
func compareStreams(ctx context.Context, t *testing.T, c *redistest.Cluster, placement router.Placement, accepted map[paid]bool) {
	t.Helper()
	stored := make(map[paid][]string)
	for i := range placement.Len() {
		s, err := c.PrimaryFor(ctx, placement.Slot(i))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := s.Do(ctx, "XRANGE", placement.Stream(i), "-", "+")
		if err != nil {
			t.Fatal(err)
		}
		entries, _ := reply.([]any)
		for k, entry := range entries {
			fields, _ := entry.([]any)[1].([]any)
			if n := fmt.Sprint(fields[1]); n != fmt.Sprint(k+1) {
				t.Errorf("partition %d: entry %d has the offset %s", i, k+1, n)
			}
			var doc struct{ Data paid }
			if err := json.NewDecoder(strings.NewReader(fmt.Sprint(fields[5]))).Decode(&doc); err != nil {
				t.Fatal(err)
			}
			stored[doc.Data] = append(stored[doc.Data], fmt.Sprint(entry))
		}
	}
	for e := range accepted {
		if n := len(stored[e]); n != 1 {
			t.Errorf("%v is stored %d times: %q", e, n, stored[e])
		}
	}
}
