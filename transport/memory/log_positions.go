package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/shardbus/shardbus/transport"
)

// Positions tells where consumers stand.
func (l *Log) Positions(ctx context.Context, topic, name string) ([]transport.Position, error) {
	t, err := l.enterTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	defer l.store.mu.Unlock()
	names := []string{name}
	switch {
	case name == "":
		names = slices.Sorted(maps.Keys(t.consumers))
	case t.consumers[name] == nil:
		return nil, fmt.Errorf("memory: %w: %q of topic %q", transport.ErrNoSuchConsumer, name, topic)
	}
	var positions []transport.Position
	for _, name := range names {
		c := t.consumers[name]
		for _, part := range c.parts {
			positions = append(positions, c.position(part))
		}
	}
	return positions, nil
}

// position counts what was trimmed and not told yet as gone.
func (c *consumer) position(part *consumerPart) transport.Position {
	p := part.partition
	kept := part.acks.Clone()
	kept.Trim(p.first, func(uint64) bool { return false })
	pos := transport.Position{
		Consumer: c.name, Partition: p.number, First: p.first, Next: p.next(),
		Low: min(kept.Low(), p.next()), Unsettled: kept.Unsettled(p.next()), Letters: c.letters.count(p.number), Fence: part.fence,
	}
	for ref := range part.deferred {
		if ref.Letter != 0 || ref.Offset >= p.first || part.loaded(ref) {
			pos.Deferred++
		}
	}
	if pos.Low < pos.Next {
		pos.Oldest = p.at(pos.Low).at
	}
	for _, held := range part.leases {
		if !held.lost && pos.Owner == "" {
			pos.Owner = held.member.config.Member
		}
	}
	for _, m := range c.members {
		if c.exclusive && !m.leaving && !c.holds(m) {
			pos.Standby = append(pos.Standby, m.config.Member)
		}
	}
	return pos
}

// Seek moves a consumer.
func (l *Log) Seek(ctx context.Context, topic, name string, to transport.Start) error {
	c, err := l.enterConsumer(ctx, topic, name)
	if err != nil {
		return err
	}
	defer l.store.mu.Unlock()
	for _, part := range c.parts {
		for _, held := range slices.Clone(part.leases) {
			if !held.lost {
				c.lose(part, held, transport.ErrSought)
			}
		}
		part.reset(part.partition.place(to), part.acks.Window())
	}
	return nil
}

// EndLeases ends all leases of a consumer, as if their holders had been silent for too long, for tests.
// The members are assigned anew, under higher fences; what was not settled may have been started.
func (l *Log) EndLeases(ctx context.Context, topic, name string) error {
	c, err := l.enterConsumer(ctx, topic, name)
	if err != nil {
		return err
	}
	defer l.store.mu.Unlock()
	for _, part := range c.parts {
		for _, held := range slices.Clone(part.leases) {
			if !held.lost {
				c.lose(part, held, transport.ErrFenced)
			}
		}
	}
	return nil
}

// Forget removes a consumer that has no member.
func (l *Log) Forget(ctx context.Context, topic, name string) error {
	c, err := l.enterConsumer(ctx, topic, name)
	if err != nil {
		return err
	}
	defer l.store.mu.Unlock()
	if len(c.members) > 0 {
		return fmt.Errorf("memory: forget consumer %q of topic %q: %w", name, topic, transport.ErrInUse)
	}
	delete(c.topic.consumers, name)
	return nil
}
