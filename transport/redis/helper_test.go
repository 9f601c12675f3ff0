package redis_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// cluster is shared by the tests that leave it as healthy as they found it.
var cluster = redistest.Share(redistest.ClusterConfig{Primaries: 3, Replicas: 1})

func TestMain(m *testing.M) {
	if config := os.Getenv(faultlab.ProcessEnv); config != "" {
		os.Exit(faultlab.RunProcess(config, drivers()))
	}
	if addrs := os.Getenv(togetherEnv); addrs != "" {
		os.Exit(runTogetherPeer(addrs))
	}
	os.Exit(redistest.Main(m, cluster).Run())
}

const patience = 30 * time.Second

// node is a served transport and what arrived there.
type node struct {
	*redis.Transport
	*sink
	stop func()
}

// serve opens a transport and serves it until the test ends, or stop.
func serve(t testing.TB, cfg redis.Config) *node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Transport: tr, sink: newSink()}
	serving, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := tr.Serve(serving, n.sink); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		stop()
		done.Wait()
		if err := tr.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// subscribe fails the test when it fails.
func (n *node) subscribe(t testing.TB, topics ...transport.Topic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, topic := range topics {
		if err := n.Subscribe(ctx, topic); err != nil {
			t.Fatal(err)
		}
	}
}

// publish publishes one event and returns what became of it.
func (n *node) publish(ctx context.Context, env transport.Envelope) transport.Result {
	results := make([]transport.Result, 1)
	n.Publish(ctx, []*transport.Envelope{&env}, results)
	return results[0]
}

// sink keeps what arrives, and checks what must always hold.
type sink struct {
	mu sync.Mutex
	// mu guards all.
	events   []*transport.Envelope
	gaps     []transport.Gap
	last     map[string]uint64
	disorder []string
	at       map[string]time.Time // when the last event of a topic arrived
	hole     time.Duration        // the longest time that a topic was silent
	holes    []hole               // those of holeWorth and more
	changed  chan struct{}
}

// hole is a time in which a topic was silent.
type hole struct{ from, to time.Time }

// holeWorth is how long a hole is that is kept: every test with a control allows more.
const holeWorth = 100 * time.Millisecond

func newSink() *sink {
	return &sink{last: map[string]uint64{}, at: map[string]time.Time{}, changed: make(chan struct{})}
}

func (s *sink) Deliver(env *transport.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, env)
	now := time.Now()
	if last, known := s.at[env.Topic]; known {
		s.hole = max(s.hole, now.Sub(last))
		if now.Sub(last) >= holeWorth {
			s.holes = append(s.holes, hole{last, now})
		}
	}
	s.at[env.Topic] = now
	if env.Seq != 0 {
		key := fmt.Sprintf("%s|%d|%s", env.Topic, env.Partition, env.Publisher)
		if env.Seq <= s.last[key] {
			s.disorder = append(s.disorder, fmt.Sprintf("%s: %d after %d", key, env.Seq, s.last[key]))
		}
		s.last[key] = env.Seq
	}
	s.changedLocked()
}

func (s *sink) Gap(g transport.Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = append(s.gaps, g)
	s.changedLocked()
}

func (s *sink) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until cond is true. cond is called with the lock held, so that it must not ask the transport, which calls
// Deliver under a lock of its own: see awaitOutside.
func (s *sink) await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Fatalf("%s: not within %v; %d events, gaps %v", what, patience, len(s.events), s.gaps)
		}
	}
}

// awaitOutside is await for a cond that is called without the lock.
func (s *sink) awaitOutside(t testing.TB, what string, cond func() bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-limit:
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Fatalf("%s: not within %v; %d events, gaps %v", what, patience, len(s.events), s.gaps)
		}
	}
}

func (s *sink) received() []*transport.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// eventually polls until cond returns nil.
func eventually(t testing.TB, what string, cond func() error) {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
