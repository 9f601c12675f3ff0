package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// ErrDisconnected is what Publish returns after [Bus.Disconnect].
var ErrDisconnected = errors.New("bustest: disconnected from the broker")

// faultTransport is a bus's connection to the broker: the memory transport, with a record of
// what was published and with what the test does to it. The broker's lock covers all
// of it.
type faultTransport struct {
	*memory.Transport
	broker *memoryBroker
	bus    *Bus
	ctx    context.Context // for what is written when nobody's Publish waits for it

	faults  []*fault // in the order in which they were set
	count   Faults
	later   []*transport.Envelope // delayed, in the order of dueAt
	dueAt   []time.Time
	timer   *time.Timer    // for the first of later
	timing  sync.WaitGroup // timer's function
	flowing bool           // somebody writes what is due

	down    bool                // the broker can't be reached, see Disconnect
	gone    bool                // the bus has ended, or crashed
	severed map[string]struct{} // buses that are not heard
	missed  []transport.Gap     // to be told when the connection is back
	checker seqChecker

	// gate is held for reading while gaps are told besides the broker, and for
	// writing to change the sink. Taken outside all other locks.
	gate struct {
		sync.RWMutex
		sink transport.Sink // nil unless Serve runs
	}
}

// newFaultTransport connects a bus to a broker, to one of its own where that is nil.
func newFaultTransport(h *memoryBroker, b *Bus) *faultTransport {
	if h == nil {
		h = newMemoryBroker()
	}
	return &faultTransport{
		Transport: h.memory.Connect(), broker: h, bus: b,
		ctx: context.WithoutCancel(b.t.Context()),
	}
}

// Changed tells of changes at the broker.
func (l *faultTransport) Changed() (<-chan struct{}, func()) { return l.broker.changes.Changed() }

func (l *faultTransport) notify()                { l.broker.changes.Notify() }
func (l *faultTransport) members() []*Bus        { return l.broker.members() }
func (l *faultTransport) idle(buses []*Bus) bool { return l.broker.idle(buses) }

// Capabilities are those of the broker, with the limit of [MaxPayload].
func (l *faultTransport) Capabilities() transport.Capabilities {
	c := l.Transport.Capabilities()
	switch n := l.bus.opts.maxPayload; {
	case n == 0:
		c.MaxPayload = transport.DefaultMaxPayload
	case n > 0:
		c.MaxPayload = n
	}
	return c
}

// Publish refuses what is too large, and publishes the rest.
func (l *faultTransport) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	can := l.Capabilities()
	start := 0 // of the envelopes that are small enough, and not yet published
	for i, env := range envs {
		if err := can.CheckPayload(env.Payload); err != nil {
			l.publish(ctx, envs[start:i], results[start:i])
			results[i] = transport.Result{Err: fmt.Errorf("bustest: publish to %q: %w", env.Topic, err)}
			start = i + 1
		}
	}
	l.publish(ctx, envs[start:], results[start:])
}

// publish records each envelope before it delivers it: who saw an event handled
// finds it published. What is refused is taken off again.
func (l *faultTransport) publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	l.bus.published.keep(envs)
	l.broker.mu.Lock()
	plain := len(l.faults) == 0 && l.reachableLocked() == nil
	l.broker.mu.Unlock()
	if plain {
		l.Transport.Publish(ctx, envs, results)
	} else {
		for i := range envs {
			results[i] = l.publishFaulty(ctx, envs[i])
		}
	}
	for i, r := range results {
		if r.Err != nil && !errors.Is(r.Err, errPublished) {
			l.bus.published.erase(envs[i])
		}
	}
	l.broker.changes.Notify()
}

// reachableLocked says why the broker can't be reached.
func (l *faultTransport) reachableLocked() error {
	if l.gone {
		return fmt.Errorf("%w: this end of it is gone", transport.ErrClosed)
	}
	if l.down {
		return ErrDisconnected
	}
	return nil
}

// write hands one envelope to the broker, whatever faults are set.
func (l *faultTransport) write(ctx context.Context, env *transport.Envelope) transport.Result {
	var results [1]transport.Result
	l.Transport.Publish(ctx, []*transport.Envelope{env}, results[:])
	return results[0]
}

// Serve has the bus receive through the transport.
func (l *faultTransport) Serve(ctx context.Context, sink transport.Sink) error {
	hear := func(sink transport.Sink) {
		l.gate.Lock()
		defer l.gate.Unlock()
		l.gate.sink = sink
	}
	hear(sink)
	defer hear(nil)
	return l.Transport.Serve(ctx, faultSink{l, sink})
}

// Subscribe waits for a connection that was taken away.
func (l *faultTransport) Subscribe(ctx context.Context, topic transport.Topic) error {
	if err := l.broker.changes.Wait(ctx, l.isUp); err != nil {
		return err
	}
	return l.Transport.Subscribe(ctx, topic)
}

// isUp tells whether Disconnect is not in force.
func (l *faultTransport) isUp() bool {
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	return !l.down
}

// Unsubscribe closes the topic's books: the next subscription begins anew.
func (l *faultTransport) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	err := l.Transport.Unsubscribe(ctx, topic)
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	l.checker.forget(topic.Name)
	return err
}

// Forget forgets nothing while a fault holds events back, which are yet to get their numbers.
func (l *faultTransport) Forget(ctx context.Context, topic transport.Topic, publisher string) error {
	l.broker.mu.Lock()
	held := slices.ContainsFunc(l.later, func(env *transport.Envelope) bool {
		return env.Topic == topic.Name && env.Publisher == publisher
	})
	l.broker.mu.Unlock()
	if held {
		return nil
	}
	return l.Transport.Forget(ctx, topic, publisher)
}

// faultSink is the sink between the broker and the bus.
type faultSink struct {
	l    *faultTransport
	sink transport.Sink
}

// Deliver hands env on, or tells of its loss.
func (e faultSink) Deliver(env *transport.Envelope) {
	l, h := e.l, e.l.broker
	h.entering.Add(1)
	defer func() {
		h.entered.Add(1)
		h.changes.Notify()
	}()
	h.mu.Lock()
	_, dropped := h.mu.dropped[env]
	severed := l.isSeveredLocked(env.Publisher)
	up := l.reachableLocked() == nil
	if !l.gone {
		l.checker.received(env)
	}
	var gap *transport.Gap
	switch {
	case l.gone:
	case severed || !up:
		l.count.Missed++
		l.missed = appendGap(l.missed, gapOf(env, transport.Disconnected))
	case dropped:
		g := gapOf(env, transport.Unknown)
		gap = &g
	}
	deliver := !l.gone && !dropped && !severed && up
	h.mu.Unlock()
	switch {
	case deliver:
		e.sink.Deliver(env)
	case gap != nil:
		e.sink.Gap(*gap)
	}
}

// Gap hands on what the broker itself reports.
func (e faultSink) Gap(g transport.Gap) {
	e.l.broker.mu.Lock()
	e.l.checker.missed(g)
	e.l.broker.mu.Unlock()
	e.sink.Gap(g)
}

// Mismatch hands on that another bus knows a topic otherwise.
func (e faultSink) Mismatch(m transport.Mismatch) {
	if sink, ok := e.sink.(transport.MismatchSink); ok {
		sink.Mismatch(m)
	}
}

// gapOf is the gap that env leaves.
func gapOf(env *transport.Envelope, reason transport.GapReason) transport.Gap {
	return transport.Gap{
		Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher,
		From: env.Seq, To: env.Seq, Count: 1, Since: time.Now(), Kind: transport.Lost, Reason: reason,
	}
}

// appendGap adds g to the stretch that it extends, if there is one.
func appendGap(gaps []transport.Gap, g transport.Gap) []transport.Gap {
	for i := range gaps {
		if gaps[i].Extends(g) {
			gaps[i].To = g.To
			gaps[i].Count += g.Count
			return gaps
		}
	}
	return append(gaps, g)
}

// defects says what does not add up.
func (l *faultTransport) defects() []string {
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	return l.checker.wrong
}
