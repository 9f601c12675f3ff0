// Package memory is a transport within one process: several buses that share a [Broker] exchange
// encoded events, as they would through a server.
//
// The broker keeps nothing: an event reaches the buses that are subscribed when it is published. Delivery
// runs on the publisher's goroutine and is synchronous: when Publish returns, the event is in the
// subscribers' inboxes. Nothing is lost but what is published between two Serves of a subscribed
// transport, or while a test has it [Transport.Sever]ed; gaps report that. Buses that know a topic
// otherwise, with other partitions or of another type, are told as soon as one subscribes and the
// other publishes.
//
// [Log] keeps the events of durable topics, as long as the process lives.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/signal"
	"github.com/shardbus/shardbus/transport"
)

// Broker connects the transports made by Connect. Safe for concurrent use. It has no goroutine and
// needs no Close.
type Broker struct {
	mu       sync.RWMutex
	channels map[address]*channel // guarded by mu
	members  atomic.Uint64        // numbers the transports
	views    views
}

// address is one partition of a topic. As on a server, a topic with other partitions has other
// addresses.
type address struct {
	topic                 string
	partitions, partition int
}

// channel is where the events of one address are ordered.
type channel struct {
	mu struct {
		sync.Mutex
		seqs    map[string]uint64 // publisher → last sequence
		members []*member         // in order of subscription
		dropped bool              // the broker does not list it any more: see Broker.drop
	}
}

// NewBroker makes a broker without topics.
func NewBroker() *Broker { return &Broker{channels: make(map[address]*channel)} }

// Connect makes a transport for one bus.
func (b *Broker) Connect() *Transport {
	t := &Transport{broker: b, name: fmt.Sprintf("memory-%d", b.members.Add(1))}
	t.links.topics = make(map[string]transport.Topic)
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

// locked returns the channel of an address, made if need be, and locked.
func (b *Broker) locked(a address) *channel {
	for {
		c := b.channel(a)
		c.mu.Lock()
		if !c.mu.dropped {
			return c
		}
		c.mu.Unlock() // another takes its place
	}
}

// drop changes the channel of an address, if there is one, and forgets it if nobody needs it then.
func (b *Broker) drop(a address, change func(c *channel)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[a]
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
	if len(c.mu.members)+len(c.mu.seqs) == 0 {
		c.mu.dropped = true
		delete(b.channels, a)
	}
}

// Transport is one bus's connection to a [Broker].
type Transport struct {
	broker *Broker
	name   string
	// gate is held for reading by a goroutine that delivers, and for writing to change the sink:
	// once Serve has cleared that, no Deliver is running. It is taken inside a channel's lock, and
	// under it nothing else.
	gate struct {
		sync.RWMutex
		sink transport.Sink // not nil while Serve runs
	}
	// cuts is how many Severs are not mended. It is changed under gate, so that a delivery sees one
	// state.
	cuts    atomic.Int32
	up      atomic.Bool      // Serve runs, and has reported what was missed before
	taken   atomic.Bool      // a bus has it
	changes signal.Broadcast // up or cuts changed
	// links is held while topics are joined and left, so that the channels' members are what it
	// lists. Taken before a channel's lock.
	links struct {
		sync.Mutex
		topics map[string]transport.Topic
	}
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Claimer   = (*Transport)(nil)
	_ transport.Forgetter = (*Transport)(nil)
)

// Claim takes the transport for a bus; a second bus is told to Connect.
func (t *Transport) Claim() error {
	if !t.taken.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: each bus needs a Connect of its own", transport.ErrInUse)
	}
	return nil
}

// Release lets another bus have it; that bus finds nothing subscribed.
func (t *Transport) Release() {
	t.links.Lock()
	for _, topic := range t.links.topics {
		t.leave(topic)
	}
	clear(t.links.topics)
	t.broker.views.leaves(t)
	t.links.Unlock()
	t.taken.Store(false)
}

// Capabilities says that there is no limit on payloads.
func (t *Transport) Capabilities() transport.Capabilities {
	return transport.Capabilities{Name: "memory"}
}

// Serve connects the transport to sink until ctx ends. A transport serves one bus at a time: a
// second Serve meanwhile is an error.
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
	t.confess() // of an earlier Serve
	t.up.Store(true)
	t.changes.Notify()

	<-ctx.Done()

	t.up.Store(false)
	t.gate.Lock()
	t.gate.sink = nil
	t.gate.Unlock()
	return nil
}

// confess reports what was missed on any topic.
func (t *Transport) confess() {
	t.broker.views.repeat(t)
	t.links.Lock()
	defer t.links.Unlock()
	for _, topic := range t.links.topics {
		t.eachChannel(topic, func(c *channel) { c.confessLocked(t) })
	}
}

// serving waits for Serve.
func (t *Transport) serving(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return t.changes.Wait(ctx, t.up.Load)
}

// Publish delivers each envelope to every subscribed bus before it returns. It does not need Serve.
// An envelope with an invalid topic or partition fails, and so do all that are left when ctx has
// ended.
func (t *Transport) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	for i, env := range envs {
		if err := t.connected(ctx); err != nil {
			results[i] = transport.Result{Err: err}
			continue
		}
		n, seq, err := t.broker.deliver(env)
		if seq == 1 {
			t.broker.views.publishes(t, env)
		}
		results[i] = transport.Result{Receivers: n, Seq: seq, Err: err}
	}
}

// deliver numbers env and hands it to the members of its channel. The channel's lock is held
// meanwhile, so that order of numbers is order of delivery; Deliver never blocks.
func (b *Broker) deliver(env *transport.Envelope) (receivers int, seq uint64, err error) {
	c, err := b.lockedOf(env)
	if err != nil {
		return 0, 0, fmt.Errorf("memory: publish: %w", err)
	}
	defer c.mu.Unlock()
	env.Seq = 0
	if env.Publisher != "" {
		c.mu.seqs[env.Publisher]++
		env.Seq = c.mu.seqs[env.Publisher]
	}
	for _, m := range c.mu.members {
		if m.deliver(env) {
			receivers++
		}
	}
	return receivers, env.Seq, nil
}

// lockedOf is locked for an envelope. Only the name of a new channel is looked at.
func (b *Broker) lockedOf(env *transport.Envelope) (*channel, error) {
	a := address{env.Topic, env.Partitions, env.Partition}
	b.mu.RLock()
	c := b.channels[a]
	b.mu.RUnlock()
	if c != nil {
		if c.mu.Lock(); !c.mu.dropped {
			return c, nil
		}
		c.mu.Unlock()
		return b.locked(a), nil
	}
	topic := transport.Topic{Name: env.Topic, Partitions: env.Partitions}
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	if err := topic.Holds(env.Partition); err != nil {
		return nil, err
	}
	return b.locked(a), nil
}

// Forget drops the publisher's numbers on the topic's partitions, and what is known of both.
func (t *Transport) Forget(ctx context.Context, topic transport.Topic, publisher string) error {
	err := topic.Validate()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("memory: forget topic %q: %w", topic.Name, err)
	}
	for p := range max(1, topic.Partitions) {
		t.broker.drop(address{topic.Name, topic.Partitions, p}, func(c *channel) { delete(c.mu.seqs, publisher) })
	}
	t.broker.views.forgets(topic, publisher)
	return nil
}

// Subscribe is live when it returns.
func (t *Transport) Subscribe(ctx context.Context, topic transport.Topic) error {
	if err := topic.Validate(); err != nil {
		return fmt.Errorf("memory: subscribe: %w", err)
	}
	err := t.serving(ctx)
	if err == nil {
		err = t.connected(ctx)
	}
	if err != nil {
		return fmt.Errorf("memory: subscribe to topic %q: %w", topic.Name, err)
	}
	t.links.Lock()
	defer t.links.Unlock()
	switch have, listed := t.links.topics[topic.Name]; {
	case !listed:
		t.links.topics[topic.Name] = topic
		t.join(topic)
	case have.Partitions != topic.Partitions:
		return fmt.Errorf("memory: subscribe: %w: %q is subscribed to with %d partitions, not %d",
			transport.ErrInvalidTopic, topic.Name, have.Partitions, topic.Partitions)
	}
	return nil
}

// Unsubscribe ends delivery: when it returns, no event of the topic is on its way to the sink.
func (t *Transport) Unsubscribe(_ context.Context, topic transport.Topic) error {
	t.links.Lock()
	defer t.links.Unlock()
	if have, listed := t.links.topics[topic.Name]; listed {
		delete(t.links.topics, topic.Name)
		t.leave(have)
	}
	return nil
}

// join makes t a member of the topic's channels.
func (t *Transport) join(topic transport.Topic) {
	t.eachChannel(topic, func(c *channel) {
		c.mu.members = append(c.mu.members, &member{Transport: t})
	})
	t.broker.views.subscribes(t, topic)
}

func (t *Transport) leave(topic transport.Topic) {
	t.broker.views.unsubscribes(t, topic.Name)
	for p := range max(1, topic.Partitions) {
		t.broker.drop(address{topic.Name, topic.Partitions, p}, func(c *channel) {
			c.mu.members = slices.DeleteFunc(c.mu.members, func(m *member) bool { return m.Transport == t })
		})
	}
}

// eachChannel calls f under the lock of each of the topic's channels.
func (t *Transport) eachChannel(topic transport.Topic, f func(*channel)) {
	for p := range max(1, topic.Partitions) {
		c := t.broker.locked(address{topic.Name, topic.Partitions, p})
		f(c)
		c.mu.Unlock()
	}
}
