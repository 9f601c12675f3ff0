package memory_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// inbox is a sink that keeps what it gets.
type inbox struct {
	mu     sync.Mutex
	got    []*transport.Envelope
	gaps   []transport.Gap
	closed bool
	t      testing.TB
}

func (in *inbox) Deliver(env *transport.Envelope) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		in.t.Error("Deliver after Serve returned")
	}
	in.got = append(in.got, env)
}

func (in *inbox) Gap(g transport.Gap) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		in.t.Error("Gap after Serve returned")
	}
	in.gaps = append(in.gaps, g)
}

// take returns what came since the last take.
func (in *inbox) take() []*transport.Envelope {
	in.mu.Lock()
	defer in.mu.Unlock()
	defer func() { in.got = nil }()
	return in.got
}

// ids are what envelopes are recognised by.
func ids(envs []*transport.Envelope) string {
	var all []string
	for _, e := range envs {
		all = append(all, e.ID)
	}
	return fmt.Sprint(all)
}

// serve runs tr until stop, which waits for its end.
func serve(t testing.TB, tr *memory.Transport) (in *inbox, stop func()) {
	t.Helper()
	in = &inbox{t: t}
	halt := serveAs(t, tr, in)
	return in, func() {
		halt()
		in.mu.Lock()
		defer in.mu.Unlock()
		in.closed = true
	}
}

func subscribe(t testing.TB, tr *memory.Transport, topics ...transport.Topic) {
	t.Helper()
	for _, topic := range topics {
		if err := tr.Subscribe(context.Background(), topic); err != nil {
			t.Fatal(err)
		}
	}
}

func publish(t testing.TB, tr *memory.Transport, envs ...*transport.Envelope) []transport.Result {
	t.Helper()
	results := make([]transport.Result, len(envs))
	tr.Publish(context.Background(), envs, results)
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	return results
}

func env(topic, id string) *transport.Envelope {
	return &transport.Envelope{Topic: topic, ID: id, Publisher: "p"}
}
