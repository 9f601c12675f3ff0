// Package bustest is a bus for unit tests of handlers and of what publishes.
//
// [New] makes a bus that lives as long as its test. Its events make the round
// trip through their codec, as they would through a server, and are recorded:
// [Published], [RequirePublished] and [RequireNotPublished] look at them typed.
// It works inside a testing/synctest bubble too.
package bustest

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// Bus is a bus under test. Hand the *bus.Bus in it to the code that is tested.
type Bus struct {
	*bus.Bus
	tape *tape
}

// New makes a bus on a memory transport of its own, logging to t. The test's
// clean-up closes it, and a handler that outlives that fails the test.
func New(t testing.TB) *Bus {
	t.Helper()
	tp := &tape{Transport: memory.NewBroker().Connect()}
	b, err := bus.New(bus.Config{Transport: tp, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("bustest: %v", err)
		}
	})
	return &Bus{Bus: b, tape: tp}
}

// tape is a transport that keeps what was published.
type tape struct {
	transport.Transport
	mu   sync.Mutex
	envs []*transport.Envelope // guarded by mu
}

// Publish records before it delivers: who saw an event handled finds it on the
// tape. What the transport refuses is taken off again.
func (tp *tape) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	tp.mu.Lock()
	tp.envs = append(tp.envs, envs...)
	tp.mu.Unlock()
	tp.Transport.Publish(ctx, envs, results)
	for i, r := range results {
		if r.Err != nil {
			tp.erase(envs[i])
		}
	}
}

func (tp *tape) erase(env *transport.Envelope) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for i := len(tp.envs) - 1; i >= 0; i-- {
		if tp.envs[i] == env {
			tp.envs = append(tp.envs[:i:i], tp.envs[i+1:]...)
			return
		}
	}
}

// of returns what was published on a topic, in order.
func (tp *tape) of(topic string) []*transport.Envelope {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	var envs []*transport.Envelope
	for _, env := range tp.envs {
		if env.Topic == topic {
			envs = append(envs, env)
		}
	}
	return envs
}

// others counts what was published on other topics.
func (tp *tape) others(topic string) map[string]int {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	counts := make(map[string]int)
	for _, env := range tp.envs {
		if env.Topic != topic {
			counts[env.Topic]++
		}
	}
	return counts
}

// patience is how long a Wait… function waits before it fails the test.
const patience = 10 * time.Second

// poll is how often it looks. In a bubble it is virtual time.
const poll = 200 * time.Microsecond

// WaitHandled waits until sub has handled n events or more, counted from its
// beginning, and fails the test with sub's ledger if that takes longer than 10 s
// or sub ends before. When it returns, sub.Stats() counts them.
func WaitHandled(t testing.TB, sub *bus.Subscription, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ended := false
		select {
		case <-sub.Done():
			ended = true
		default:
		}
		st := sub.Stats()
		switch {
		case st.Handled >= uint64(n):
			return
		case ended:
			t.Fatalf("bustest: %s/%s ended before it had handled %d events: %v", sub.Topic(), sub.Name(), n, st)
		case time.Now().After(deadline):
			t.Fatalf("bustest: %s/%s has not handled %d events after %v: %v", sub.Topic(), sub.Name(), n, patience, st)
		}
		time.Sleep(poll)
	}
}
