package file

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// Positions tells where consumers stand.
func (l *instance) Positions(ctx context.Context, topic, name string) ([]transport.Position, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	positions, partitions, err := l.positions(topic, name)
	if err != nil {
		return nil, err
	}
	err = l.db.View(func(tx *store.Tx) error {
		for i := range positions {
			if pos, p := &positions[i], partitions[i]; pos.Low < pos.Next {
				pos.Oldest = record.EventAt(tx.Get(store.Events, record.EventKey(p.topic.Number, p.number, pos.Low)))
			}
		}
		return nil
	})
	return positions, err
}

// positions is all of the positions that stands in memory.
func (l *instance) positions(topic, name string) (positions []transport.Position, partitions []*partition, err error) {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	t, err := l.st.topic(topic)
	if err != nil {
		return nil, nil, err
	}
	names := []string{name}
	if name == "" {
		names = slices.Sorted(maps.Keys(t.consumers))
	}
	for _, name := range names {
		c, err := l.st.consumer(topic, name)
		if err != nil {
			return nil, nil, err
		}
		for _, at := range c.parts {
			positions = append(positions, c.position(at))
			partitions = append(partitions, at.partition)
		}
	}
	return positions, partitions, nil
}

// position is where a consumer stands. The events that its holder has in hand and that were trimmed
// count as gone.
func (c *consumer) position(at *part) transport.Position {
	p, kept := at.partition, at.Acks
	if kept.Low() < p.First {
		kept = kept.Clone()
		kept.Trim(p.First, func(uint64) bool { return false })
	}
	pos := transport.Position{
		Consumer: c.name, Partition: p.number, First: p.First, Next: p.Next, Low: min(kept.Low(), p.Next), Unsettled: kept.Unsettled(p.Next),
		Deferred: at.Deferred, Letters: at.Letters, Fence: at.Fence,
	}
	if at.lease != nil {
		pos.Owner = at.lease.member.config.Member
	}
	return pos
}

// Seek moves a consumer.
func (l *instance) Seek(ctx context.Context, topic, name string, to transport.Start) error {
	to.Offsets = maps.Clone(to.Offsets)
	_, err := l.alone(ctx, func(s *session) (any, error) {
		c, err := s.consumer(topic, name)
		if err == nil {
			s.seek(c, to)
		}
		return nil, err
	})
	return err
}

// Forget removes a consumer that has no member.
func (l *instance) Forget(ctx context.Context, topic, name string) error {
	_, err := l.alone(ctx, func(s *session) (any, error) {
		c, err := s.consumer(topic, name)
		if err != nil {
			return nil, err
		}
		if c.member != nil {
			return nil, fmt.Errorf("file: forget consumer %q of topic %q: %w", name, topic, transport.ErrInUse)
		}
		s.forgetConsumer(c)
		return nil, nil
	})
	return err
}
