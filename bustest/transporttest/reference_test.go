package transporttest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/transporttest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// reference is a transport that does all that a case may need: that of package
// memory, and it has a limit, can be closed, and can be cut off from its broker.
// The mutants are made of it.
type reference struct {
	*memory.Transport
	m       *mutant
	release <-chan struct{} // what a mutant leaves hanging ends here
	// abandoned is shared by all of a broker.
	abandoned *atomic.Uint64

	closed  chan struct{}
	closing sync.Once
	serving sync.WaitGroup

	mu sync.Mutex
	// mu guards what follows.
	running bool
	sink    transport.Sink // of the Serve that runs
	mended  chan struct{}  // not nil: cut off
	missed  map[streamName]*transport.Gap
	state   state
}

type streamName struct {
	topic     string
	partition int
	publisher string
}

const referenceLimit = 64 << 10

var referenceFeatures = transporttest.Features{
	Ephemeral: true, Partitions: 16, MaxPayload: referenceLimit, Claim: true, Health: true, Close: true, Sever: true, Mismatch: true, Garble: true, Forget: true, Bubble: true,
}

// referenceBroker makes a new broker for transports with m's fault.
func referenceBroker(m *mutant) func(testing.TB) transporttest.Broker {
	return func(t testing.TB) transporttest.Broker {
		broker, release, abandoned := memory.NewBroker(), make(chan struct{}), new(atomic.Uint64)
		t.Cleanup(func() { close(release) })
		return transporttest.Broker{
			Connect: func(testing.TB) transport.Transport {
				return &reference{
					Transport: broker.Connect(), m: m, release: release, abandoned: abandoned, closed: make(chan struct{}),
					missed: make(map[streamName]*transport.Gap), state: newState(),
				}
			},
			Sever: func(_ testing.TB, tr transport.Transport) func() {
				r, _ := tr.(*reference)
				r.cut()
				return r.mend
			},
			Garble: func(t testing.TB, topic transport.Topic) []byte {
				env := &transport.Envelope{
					Topic: topic.Name, Payload: []byte("garbled"), Malformed: fmt.Errorf("%w: it is garbled", transport.ErrMalformed),
				}
				var results [1]transport.Result
				broker.Connect().Publish(t.Context(), []*transport.Envelope{env}, results[:])
				if err := results[0].Err; err != nil {
					t.Fatal(err)
				}
				return env.Payload
			},
		}
	}
}

func (r *reference) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mended = make(chan struct{})
}

func (r *reference) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.mended)
	r.mended = nil
	r.confessLocked()
	r.state.mends++
}

// confessLocked reports what was missed while it was cut off, if anybody listens.
func (r *reference) confessLocked() {
	if r.sink == nil || r.mended != nil {
		return
	}
	for _, g := range r.missed {
		r.m.onGap(r, *g, r.sink.Gap)
	}
	clear(r.missed)
}

// await waits until it is not cut off.
func (r *reference) await(ctx context.Context) error {
	r.mu.Lock()
	mended := r.mended
	r.mu.Unlock()
	if mended == nil {
		return nil
	}
	select {
	case <-mended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.closed:
		return transport.ErrClosed
	}
}

func (r *reference) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// wire is between the broker and the sink of one Serve.
type wire struct{ r *reference }

func (w wire) Deliver(env *transport.Envelope) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.r.mended == nil {
		w.r.m.onDeliver(w.r, env, w.r.sink.Deliver)
		return
	}
	name := streamName{env.Topic, env.Partition, env.Publisher}
	g := w.r.missed[name]
	if g == nil {
		g = &transport.Gap{
			Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher,
			From: env.Seq, Since: time.Now(), Kind: transport.Lost, Reason: transport.Disconnected,
		}
		w.r.missed[name] = g
	}
	g.To = env.Seq
	g.Count++
}

func (w wire) Gap(g transport.Gap) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.m.onGap(w.r, g, w.r.sink.Gap)
}

func (w wire) Mismatch(m transport.Mismatch) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if sink, ok := w.r.sink.(transport.MismatchSink); ok {
		w.r.m.onMismatch(w.r, m, sink.Mismatch)
	}
}

func (r *reference) Capabilities() transport.Capabilities {
	return r.m.onCapabilities(r, transport.Capabilities{Name: "reference", MaxPayload: referenceLimit})
}

func (r *reference) Serve(ctx context.Context, sink transport.Sink) error {
	return r.m.onServe(r, ctx, sink, r.serve)
}

func (r *reference) serve(ctx context.Context, sink transport.Sink) error {
	r.mu.Lock()
	switch {
	case r.isClosed():
		r.mu.Unlock()
		return transport.ErrClosed
	case r.running:
		r.mu.Unlock()
		return transport.ErrInUse
	}
	r.running, r.sink = true, sink
	r.serving.Add(1)
	r.confessLocked()
	r.mu.Unlock()

	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-r.closed:
			cancel()
		case <-inner.Done():
		}
	})
	err := r.Transport.Serve(inner, wire{r})
	watching.Wait()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.sink = false, nil
	r.serving.Done()
	if err == nil && ctx.Err() == nil {
		return transport.ErrClosed
	}
	return err
}

func (r *reference) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	r.m.onPublish(r, ctx, envs, results, r.publish)
}

func (r *reference) publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	for i, env := range envs {
		err := r.await(ctx)
		switch {
		case r.isClosed():
			err = transport.ErrClosed
		case err == nil && len(env.Payload) > referenceLimit:
			err = fmt.Errorf("topic %q: %w", env.Topic, transport.ErrTooLarge)
		case err == nil:
			r.Transport.Publish(ctx, envs[i:i+1], results[i:i+1])
			continue
		}
		results[i] = transport.Result{Err: err}
	}
}

func (r *reference) Subscribe(ctx context.Context, topic transport.Topic) error {
	return r.m.onSubscribe(r, ctx, topic, r.subscribe)
}

func (r *reference) subscribe(ctx context.Context, topic transport.Topic) error {
	if err := r.await(ctx); err != nil {
		return err
	}
	if r.isClosed() {
		return transport.ErrClosed
	}
	return r.Transport.Subscribe(ctx, topic)
}

func (r *reference) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	return r.m.onUnsubscribe(r, ctx, topic, r.unsubscribe)
}

func (r *reference) unsubscribe(ctx context.Context, topic transport.Topic) error {
	err := r.Transport.Unsubscribe(ctx, topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.missed {
		if name.topic == topic.Name {
			delete(r.missed, name)
		}
	}
	return err
}

func (r *reference) Forget(ctx context.Context, topic transport.Topic, publisher string) error {
	return r.m.onForget(r, ctx, topic, publisher, r.Transport.Forget)
}

func (r *reference) Claim() error { return r.m.onClaim(r, r.Transport.Claim) }
func (r *reference) Release()     { r.m.onRelease(r, r.Transport.Release) }

func (r *reference) Health() transport.Health { return r.m.onHealth(r, r.health) }

func (r *reference) health() transport.Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mended != nil {
		return downFor(errors.New("it is cut off"))
	}
	return r.Transport.Health()
}

func downFor(err error) transport.Health {
	return transport.Health{Down: []transport.Part{{Name: "reference", Err: err}}}
}

func (r *reference) Close() error { return r.m.onClose(r, r.close) }

func (r *reference) close() error {
	r.mu.Lock() // a Serve that begins sees it, or is waited for
	r.closing.Do(func() { close(r.closed) })
	r.mu.Unlock()
	r.serving.Wait()
	return nil
}
