// Package memory is a transport within one process: several buses that share a
// [Broker] exchange encoded events, as they would through a server.
//
// It keeps nothing: an event reaches the buses that are subscribed when it is
// published. Delivery runs on the publisher's goroutine and is synchronous:
// when Publish returns, the event is in the subscribers' inboxes.
package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/shardbus/shardbus/transport"
)

// Broker connects the transports made by Connect. Safe for concurrent use. It
// has no goroutine and needs no Close.
type Broker struct {
	mu       sync.RWMutex
	channels map[address]*channel // guarded by mu
}

// address is one partition of a topic.
type address struct {
	topic     string
	partition int
}

// channel is where the events of one address are ordered.
type channel struct {
	mu struct {
		sync.Mutex
		seqs    map[string]uint64 // publisher → last sequence
		members []*Transport      // in order of subscription
	}
}

// NewBroker makes a broker without topics.
func NewBroker() *Broker { return &Broker{channels: make(map[address]*channel)} }

// Connect makes a transport for one bus.
func (b *Broker) Connect() *Transport {
	t := &Transport{broker: b}
	t.mu.up = make(chan struct{})
	t.mu.topics = make(map[transport.Topic]struct{})
	return t
}

// channel finds or makes the channel of an address.
func (b *Broker) channel(a address) *channel {
	b.mu.RLock()
	c := b.channels[a]
	b.mu.RUnlock()
	if c != nil {
		return c
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c = b.channels[a]; c == nil {
		c = &channel{}
		c.mu.seqs = make(map[string]uint64)
		b.channels[a] = c
	}
	return c
}

// Transport is one bus's connection to a [Broker].
type Transport struct {
	broker *Broker
	// gate is held for reading by whoever delivers, and for writing to change the
	// sink: once Serve has taken that away, no Deliver is under way. Taken inside
	// a channel's lock, and under it nothing else.
	gate struct {
		sync.RWMutex
		sink transport.Sink // not nil while Serve runs
	}
	mu struct {
		sync.Mutex
		up     chan struct{} // closed while Serve runs
		topics map[transport.Topic]struct{}
		taken  bool
	}
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Claimer   = (*Transport)(nil)
)

// Claim takes the transport for a bus; a second one is told to Connect.
func (t *Transport) Claim() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.taken {
		return fmt.Errorf("%w: each bus needs a Connect of its own", transport.ErrInUse)
	}
	t.mu.taken = true
	return nil
}

// Release lets another bus have it.
func (t *Transport) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.taken = false
}

// Capabilities says that there is no limit on payloads.
func (t *Transport) Capabilities() transport.Capabilities {
	return transport.Capabilities{Name: "memory"}
}

// Serve connects the transport to sink until ctx ends. A transport serves one
// bus at a time: a second Serve meanwhile is an error.
func (t *Transport) Serve(ctx context.Context, sink transport.Sink) error {
	t.gate.Lock()
	busy := t.gate.sink != nil
	if !busy {
		t.gate.sink = sink
	}
	t.gate.Unlock()
	if busy {
		return fmt.Errorf("%w: each bus needs a Connect of its own", transport.ErrInUse)
	}
	t.mu.Lock()
	topics := t.subscribedLocked()
	t.mu.Unlock()
	for _, topic := range topics { // of an earlier Serve
		t.join(topic)
	}
	t.mu.Lock()
	close(t.mu.up)
	t.mu.Unlock()

	<-ctx.Done()

	t.mu.Lock()
	t.mu.up = make(chan struct{})
	topics = t.subscribedLocked()
	t.mu.Unlock()
	t.gate.Lock()
	t.gate.sink = nil
	t.gate.Unlock()
	for _, topic := range topics {
		t.leave(topic)
	}
	return nil
}

func (t *Transport) subscribedLocked() []transport.Topic {
	topics := make([]transport.Topic, 0, len(t.mu.topics))
	for topic := range t.mu.topics {
		topics = append(topics, topic)
	}
	return topics
}

// serving waits for Serve.
func (t *Transport) serving(ctx context.Context) error {
	t.mu.Lock()
	up := t.mu.up
	t.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Publish delivers each envelope to every subscribed bus before it returns. It
// does not need Serve. The only error is a context that had ended before.
func (t *Transport) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	for i, env := range envs {
		if ctx.Err() != nil {
			results[i].Err = context.Cause(ctx)
			continue
		}
		results[i].Receivers = t.broker.deliver(env)
	}
}

// deliver numbers env and hands it to the members of its channel. The channel's
// lock is held meanwhile, so that order of numbers is order of delivery;
// Deliver never blocks.
func (b *Broker) deliver(env *transport.Envelope) (receivers int) {
	c := b.channel(address{env.Topic, env.Partition})
	c.mu.Lock()
	defer c.mu.Unlock()
	if env.Publisher != "" {
		c.mu.seqs[env.Publisher]++
		env.Seq = c.mu.seqs[env.Publisher]
	}
	for _, t := range c.mu.members {
		t.deliver(env)
	}
	return len(c.mu.members)
}

// deliver hands env to the bus, if one is served.
func (t *Transport) deliver(env *transport.Envelope) {
	t.gate.RLock()
	defer t.gate.RUnlock()
	if t.gate.sink != nil {
		t.gate.sink.Deliver(env)
	}
}

// Subscribe is live when it returns.
func (t *Transport) Subscribe(ctx context.Context, topic transport.Topic) error {
	if err := t.serving(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	t.mu.topics[topic] = struct{}{}
	t.mu.Unlock()
	t.join(topic)
	return nil
}

// Unsubscribe ends delivery: when it returns, no event of the topic is under
// way to the sink.
func (t *Transport) Unsubscribe(_ context.Context, topic transport.Topic) error {
	t.mu.Lock()
	delete(t.mu.topics, topic)
	t.mu.Unlock()
	t.leave(topic)
	return nil
}

// join makes t a member of the topic's channels; joining twice is joining once.
func (t *Transport) join(topic transport.Topic) {
	t.eachChannel(topic, func(c *channel) {
		for _, m := range c.mu.members {
			if m == t {
				return
			}
		}
		c.mu.members = append(c.mu.members, t)
	})
}

func (t *Transport) leave(topic transport.Topic) {
	t.eachChannel(topic, func(c *channel) {
		for i, m := range c.mu.members {
			if m == t {
				c.mu.members = append(c.mu.members[:i:i], c.mu.members[i+1:]...)
				return
			}
		}
	})
}

// eachChannel calls f under the lock of each of the topic's channels.
func (t *Transport) eachChannel(topic transport.Topic, f func(*channel)) {
	for p := range max(1, topic.Partitions) {
		c := t.broker.channel(address{topic.Name, p})
		c.mu.Lock()
		f(c)
		c.mu.Unlock()
	}
}
