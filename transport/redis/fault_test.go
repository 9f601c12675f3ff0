package redis_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// flow publishes on many topics at once and keeps its own books.
type flow struct {
	topics  []string
	every   time.Duration // an event on each topic
	repairs bool
	pub     *node
	sub     *node
	stopped chan struct{}
	workers sync.WaitGroup

	mu sync.Mutex
	// mu guards what follows: numbers by topic.
	acked, failed map[string]map[uint64]bool
}

const flowPublisher = "flow"

// flowEvery is how often a flow publishes on each topic.
const flowEvery = 5 * time.Millisecond

// startFlow publishes on topics over all slots.
func startFlow(t *testing.T, addrs []string, topics int) *flow {
	t.Helper()
	return startFlowAt(t, redis.Config{Addrs: addrs}, topics, flowEvery)
}

// startFlowAt is startFlow with any config and pace. If Repair is off, it is the subscriber's.
func startFlowAt(t *testing.T, cfg redis.Config, topics int, every time.Duration) *flow {
	t.Helper()
	repairs := !cfg.Repair.Off
	sub := serve(t, cfg)
	cfg.Repair.Off = false
	f := &flow{
		sub: sub, pub: serve(t, cfg), every: every, repairs: repairs,
		stopped: make(chan struct{}), acked: map[string]map[uint64]bool{}, failed: map[string]map[uint64]bool{},
	}
	for i := range topics {
		name := fmt.Sprintf("%s.%d", t.Name()[len("Test"):], i)
		name = string(fmt.Append(nil, router.Slot(name))) + "." + name
		f.topics = append(f.topics, sanitize(name))
	}
	for _, topic := range f.topics {
		f.sub.subscribe(t, transport.Topic{Name: topic})
		f.acked[topic], f.failed[topic] = map[uint64]bool{}, map[uint64]bool{}
	}
	for _, topic := range f.topics {
		f.workers.Go(func() { f.run(topic) })
	}
	t.Cleanup(f.stop)
	f.flowing(t)
	return f
}

func sanitize(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == '/' {
			b[i] = '_'
		}
	}
	return string(b)
}

func (f *flow) stop() {
	select {
	case <-f.stopped:
	default:
		close(f.stopped)
	}
	f.workers.Wait()
}

func (f *flow) run(topic string) {
	for n := 0; ; n++ {
		select {
		case <-f.stopped:
			return
		case <-time.After(f.every): // no ticker, which may be over while it publishes: see docs/testing.md
		}
		f.one(topic, n)
	}
}

// one publishes an event; every other has little patience, so that some fail with a fault.
func (f *flow) one(topic string, n int) {
	timeout := patience
	if n%2 == 0 {
		timeout = 150 * time.Millisecond
	}
	f.publish(topic, fmt.Sprint(n), timeout)
}

// publish publishes an event and notes what became of it.
func (f *flow) publish(topic, id string, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	env := &transport.Envelope{Topic: topic, Publisher: flowPublisher, ID: id, Payload: []byte(`{}`)}
	results := make([]transport.Result, 1)
	f.pub.Publish(ctx, []*transport.Envelope{env}, results)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case results[0].Err == nil:
		f.acked[topic][env.Seq] = true
	case env.Seq != 0:
		f.failed[topic][env.Seq] = true
	}
}

// flowing waits until every topic has an event from after now.
func (f *flow) flowing(t testing.TB) {
	t.Helper()
	start := time.Now()
	f.sub.await(t, "events on every topic", func() bool {
		for _, topic := range f.topics {
			if !f.sub.at[topic].After(start) {
				return false
			}
		}
		return true
	})
}

// settle waits until every number is settled that was assigned. The flow has stopped.
func (f *flow) settle(t *testing.T) {
	t.Helper()
	f.sub.awaitOutside(t, "every number to be settled", func() bool {
		for _, topic := range f.topics {
			if n := f.settled(topic); n < f.assigned(topic) {
				return false
			}
		}
		return true
	})
}

// check ends the flow and compares the books: each number is received once, or was given up by its publisher; without
// repair each is received once, or in one gap of the right kind. Who repairs asks the publisher, which lives until nothing
// is left to ask for: what it takes along, when it ends a moment after a fault, is told and not repaired.
func (f *flow) check(t *testing.T) {
	t.Helper()
	f.stop()
	if f.repairs {
		f.settle(t)
	}
	f.pub.stop() // with the final watermarks
	f.settle(t)
	f.sub.mu.Lock()
	defer f.sub.mu.Unlock()
	if len(f.sub.disorder) > 0 {
		t.Errorf("disorder: %v", f.sub.disorder[:min(5, len(f.sub.disorder))])
	}
	var all, lost, uncertain, failed, voided, told uint64
	for _, topic := range f.topics {
		received, missing := f.books(t, topic)
		for seq := uint64(1); seq <= f.assigned(topic); seq++ {
			kind, gone := missing[seq]
			switch {
			case received[seq] && gone:
				t.Errorf("%s: %d was received and is in a gap", topic, seq)
			case !received[seq] && !gone && f.failed[topic][seq] && f.repairs:
				voided++
			case !received[seq] && !gone:
				t.Errorf("%s: %d of %d was lost silently", topic, seq, f.assigned(topic))
			case gone && !f.failed[topic][seq] && f.repairs:
				t.Errorf("%s: %d of %d was not repaired", topic, seq, f.assigned(topic))
			case gone && f.failed[topic][seq] != (kind == transport.Uncertain):
				t.Errorf("%s: %d is missing and reported %v, failed: %v", topic, seq, kind, f.failed[topic][seq])
			}
		}
		for seq := range maps.Keys(missing) {
			if seq == 0 || seq > f.assigned(topic) {
				t.Errorf("%s: a gap has %d, which was never assigned", topic, seq)
			}
			if missing[seq] == transport.Lost {
				lost++
			} else {
				uncertain++
			}
		}
		told += f.sub.Ledger(topicNamed(topic)).Voided
		all += f.assigned(topic)
		failed += uint64(len(f.failed[topic]))
	}
	if voided != told {
		t.Errorf("%d are void, the ledger says %d", voided, told)
	}
	t.Logf("%d numbers, %d failed; %d void, %d lost, %d uncertain, in %d gaps", all, failed, voided, lost, uncertain, len(f.sub.gaps))
}

// books returns what the subscriber has of a topic. The caller holds the sink's lock.
func (f *flow) books(t *testing.T, topic string) (received map[uint64]bool, missing map[uint64]transport.GapKind) {
	received, missing = map[uint64]bool{}, map[uint64]transport.GapKind{}
	for _, env := range f.sub.events {
		if env.Topic == topic {
			if received[env.Seq] {
				t.Errorf("%s: %d was received twice", topic, env.Seq)
			}
			received[env.Seq] = true
		}
	}
	for _, g := range f.sub.gaps {
		if g.Topic != topic {
			continue
		}
		if g.Publisher != flowPublisher || g.Count != g.To-g.From+1 {
			t.Errorf("odd gap %+v", g)
		}
		for seq := g.From; seq <= g.To; seq++ {
			if _, twice := missing[seq]; twice {
				t.Errorf("%s: %d is in two gaps", topic, seq)
			}
			missing[seq] = g.Kind
		}
	}
	return received, missing
}

func (f *flow) assigned(topic string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var last uint64
	for _, numbers := range []map[uint64]bool{f.acked[topic], f.failed[topic]} {
		for seq := range numbers {
			last = max(last, seq)
		}
	}
	return last
}

// settled counts the numbers received, void and missing.
func (f *flow) settled(topic string) uint64 {
	n := f.sub.Ledger(topicNamed(topic)).Voided
	f.sub.mu.Lock()
	defer f.sub.mu.Unlock()
	for _, env := range f.sub.events {
		if env.Topic == topic {
			n++
		}
	}
	for _, g := range f.sub.gaps {
		if g.Topic == topic {
			n += g.Count
		}
	}
	return n
}

// faultCluster starts a cluster of the test's own, because the test breaks it.
func faultCluster(t *testing.T) *redistest.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("breaks a cluster: not in short mode")
	}
	return redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Replicas: 1, NodeTimeout: time.Second})
}

func victim(ctx context.Context, t *testing.T, c *redistest.Cluster, slot int) *redistest.Server {
	t.Helper()
	p, err := c.PrimaryFor(ctx, slot)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const flowTopics = 30

// within bounds a whole test.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// ownWithin is within, in which the stalls of the control do not count.
func ownWithin(t *testing.T, c *redistest.Control) context.Context {
	ctx, cancel := c.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// TestFaultPause stops a primary for less than it takes to be replaced.
func TestFaultPause(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	c := faultCluster(t)
	f := startFlow(t, c.Addrs(), flowTopics)
	p := victim(ctx, t, c, 0)
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond) // the length of the fault, not a wait for something
		if err := p.Cont(); err != nil {
			t.Fatal(err)
		}
		f.flowing(t)
	}
	f.check(t)
}

func TestFaultStandaloneRestart(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	s := redistest.Standalone(t, redistest.Config{})
	f := startFlow(t, []string{s.Addr()}, 10)
	for range 3 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		f.flowing(t)
	}
	f.check(t)
}

func topicNamed(name string) transport.Topic { return transport.Topic{Name: name} }
