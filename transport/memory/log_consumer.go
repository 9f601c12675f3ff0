package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/ackset"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// consumer is one name that reads a topic. The store's lock guards it.
type consumer struct {
	store            *logStore
	topic            *logTopic
	name             string
	exclusive, keyed bool         // of the members
	members          []*logMember // in the order in which they joined
	parts            []*consumerPart
	letters          letterBox
}

// consumerPart is where a consumer stands in a partition.
type consumerPart struct {
	partition *logPartition
	acks      *ackset.Set
	fence     uint64
	leases    []*lease
	deferred  map[transport.EventRef]transport.Deferral
	starts    map[transport.EventRef]int // since the last outcome
	suspects  map[uint64]struct{}        // what may have been started under leases that were lost
}

// logMember is a bus's membership of a consumer.
type logMember struct {
	log      *Log
	consumer *consumer
	config   transport.ConsumerConfig
	queue    *sinks.Queue
	leaving  bool // it released what nobody had asked it for
	closed   bool
}

var _ transport.Consumer = (*logMember)(nil)

// Consume joins a consumer, or makes it.
func (l *Log) Consume(ctx context.Context, config transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	if err := (transport.Topic{Name: config.Name}).Validate(); err != nil {
		return nil, fmt.Errorf("memory: consume: %w", err)
	}
	t, err := l.enterTopic(ctx, config.Topic)
	if err != nil {
		return nil, err
	}
	defer l.store.mu.Unlock()
	c := t.consumers[config.Name]
	if c == nil {
		c = l.store.newConsumer(t, config)
		t.consumers[config.Name] = c
	}
	if err := c.admits(l, config); err != nil {
		return nil, fmt.Errorf("memory: consume topic %q as %q: %w", config.Topic, config.Name, err)
	}
	m := &logMember{log: l, consumer: c, config: config, queue: l.sinks.Queue(sink)}
	c.exclusive, c.keyed = config.Exclusive, config.Keyed
	c.members = append(c.members, m)
	c.balanceLocked()
	return m, nil
}

func (s *logStore) newConsumer(t *logTopic, config transport.ConsumerConfig) *consumer {
	window := config.Window
	if window <= 0 {
		window = transport.DefaultWindow
	}
	window = min(window, transport.MaxWindow)
	c := &consumer{store: s, topic: t, name: config.Name, letters: newLetterBox()}
	for _, p := range t.partitions {
		part := &consumerPart{partition: p}
		part.reset(p.place(config.Start), window)
		c.parts = append(c.parts, part)
	}
	return c
}

// reset has the consumer begin at an offset.
func (part *consumerPart) reset(low uint64, window int) {
	part.acks = ackset.New(low, window)
	part.deferred = make(map[transport.EventRef]transport.Deferral)
	part.starts = make(map[transport.EventRef]int)
	part.suspects = make(map[uint64]struct{})
}

// admits says why a bus can't join.
func (c *consumer) admits(l *Log, config transport.ConsumerConfig) error {
	for _, m := range c.members {
		switch {
		case m.log == l:
			return fmt.Errorf("%w: the bus consumes it already", transport.ErrInUse)
		case m.config.Exclusive != config.Exclusive || m.config.Keyed != config.Keyed:
			return fmt.Errorf("%w: member %s has Exclusive %v and Keyed %v", transport.ErrInUse, m.config.Member, m.config.Exclusive, m.config.Keyed)
		}
	}
	return nil
}

// enter begins a call under a lease: it locks the store, unless the lease is not a living one of
// the member.
func (m *logMember) enter(ctx context.Context, l transport.Lease) (*consumerPart, *lease, error) {
	if err := m.log.enter(ctx); err != nil {
		return nil, nil, err
	}
	if !m.closed && l.Partition >= 0 && l.Partition < len(m.consumer.parts) {
		part := m.consumer.parts[l.Partition]
		for _, held := range part.leases {
			if held.Lease == l && held.member == m && !held.lost {
				return part, held, nil
			}
		}
	}
	m.log.store.mu.Unlock()
	return nil, nil, fmt.Errorf("memory: %w: consumer %q, partition %d of topic %q, fence %d",
		transport.ErrFenced, m.config.Name, l.Partition, m.config.Topic, l.Fence)
}

// Begin counts a start.
func (m *logMember) Begin(ctx context.Context, l transport.Lease, ref transport.EventRef) (starts int, err error) {
	part, _, err := m.enter(ctx, l)
	if err != nil {
		return 0, err
	}
	defer m.log.store.mu.Unlock()
	if !m.consumer.pends(part, ref) {
		return 0, fmt.Errorf("memory: begin: %w: offset %d, letter %d is settled", transport.ErrInvalidCommit, ref.Offset, ref.Letter)
	}
	part.starts[ref]++
	return part.starts[ref], nil
}

// pends reports whether an event waits for an outcome.
func (c *consumer) pends(part *consumerPart, ref transport.EventRef) bool {
	if ref.Letter != 0 {
		have := c.letters.byID[ref.Letter]
		return have != nil && have.Replaying && have.Offset == ref.Offset && have.Partition == part.partition.number
	}
	if _, deferred := part.deferred[ref]; deferred {
		return true
	}
	return ref.Offset > 0 && !part.acks.Settled(ref.Offset) && ref.Offset < part.partition.next()
}

// addedLocked tells the holders of a partition that it has more events.
func (c *consumer) addedLocked(partition int) {
	part := c.parts[partition]
	for _, held := range part.leases {
		if held.caughtUp && held.Whole() {
			held.wake()
		}
	}
	if c.inRanges() {
		c.balanceLocked()
	}
}

// trimmedLocked accounts for what was trimmed of a partition. If nobody holds any of it, that is
// left for the next lease.
func (c *consumer) trimmedLocked(partition int) {
	part := c.parts[partition]
	for _, held := range part.leases {
		if !held.lost {
			for _, g := range c.trimmed(part) {
				held.member.queue.Gap(g)
			}
			return
		}
	}
}

// trimmed settles what was trimmed before the consumer got it, and says what that was.
func (c *consumer) trimmed(part *consumerPart) (gaps []transport.Gap) {
	first := part.partition.first
	if from, last, count := part.acks.Trim(first, part.inFlight); count > 0 {
		gaps = append(gaps, c.gap(part, from, last, count))
	}
	for ref := range part.deferred {
		if ref.Letter == 0 && ref.Offset < first && !part.loaded(ref) {
			part.settled(ref)
			gaps = append(gaps, c.gap(part, ref.Offset, ref.Offset, 1))
		}
	}
	return gaps
}

func (c *consumer) gap(part *consumerPart, from, last, count uint64) transport.Gap {
	return transport.Gap{
		Topic: c.topic.config.Name, Partition: part.partition.number, From: from, To: last, Count: count, Since: time.Now(), Reason: transport.Trimmed,
	}
}

// inFlight reports whether the holder of a lease has fetched an event.
func (part *consumerPart) inFlight(offset uint64) bool {
	for _, held := range part.leases {
		if !held.lost && held.Covers(offset) && offset <= held.fetched {
			return true
		}
	}
	return false
}

// loaded reports whether the holder of a lease has loaded a deferred event.
func (part *consumerPart) loaded(ref transport.EventRef) bool {
	for _, held := range part.leases {
		if _, ok := held.loaded[ref]; ok && !held.lost {
			return true
		}
	}
	return false
}

// settled forgets what was kept for an event that has no outcome yet.
func (part *consumerPart) settled(ref transport.EventRef) {
	delete(part.deferred, ref)
	delete(part.starts, ref)
	if ref.Letter == 0 {
		delete(part.suspects, ref.Offset)
	}
	for _, held := range part.leases {
		delete(held.loaded, ref)
		delete(held.given, ref.Letter)
	}
}
