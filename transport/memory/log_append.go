package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

// Append adds batches.
func (l *Log) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	err := l.enter(ctx)
	if err != nil {
		for i := range results {
			results[i] = transport.AppendResult{Err: err}
		}
		return
	}
	defer l.store.mu.Unlock()
	now := l.store.nowLocked()
	for i := range batches {
		results[i] = l.store.appendLocked(&batches[i], now)
	}
}

// appendLocked takes a batch or says why not.
func (s *logStore) appendLocked(b *transport.Batch, now time.Time) transport.AppendResult {
	p, err := s.targetLocked(b)
	if err != nil {
		return transport.AppendResult{Err: err}
	}
	take, before, err := p.publishers[b.Publisher.ID].Check(b.Publisher, len(b.Envelopes), now)
	if err != nil {
		return transport.AppendResult{Err: fmt.Errorf("memory: append to topic %q: %w", b.Topic, err)}
	}
	if !take {
		return before
	}
	r := s.takeLocked(p, b, now)
	if id := b.Publisher.ID; id != "" {
		p.publishers[id] = pubseq.Took(b.Publisher, len(b.Envelopes), r, now)
	}
	return r
}

// targetLocked is the partition of a batch, or what is wrong with it.
func (s *logStore) targetLocked(b *transport.Batch) (*logPartition, error) {
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("memory: append: %w", err)
	}
	t := s.topics[b.Topic]
	if t == nil {
		return nil, fmt.Errorf("memory: append: %w: %q", transport.ErrNoSuchTopic, b.Topic)
	}
	if err := t.config.Holds(b.Partition); err != nil {
		return nil, fmt.Errorf("memory: append: %w", err)
	}
	return t.partitions[b.Partition], nil
}

// takeLocked takes the events of a batch.
func (s *logStore) takeLocked(p *logPartition, b *transport.Batch, now time.Time) (r transport.AppendResult) {
	p.sweepIDs(now)
	for i, env := range b.Envelopes {
		env.Topic, env.Partitions, env.Partition, env.Seq = b.Topic, p.topic.config.Partitions, b.Partition, 0
		if b.Publisher.ID != "" {
			env.Seq = b.Publisher.Seq + uint64(i) //nolint:gosec // an index
		}
		byUser := b.UserID != nil && b.UserID[i]
		if byUser {
			if id, seen := p.ids[env.ID]; seen && (id.waits != nil || now.Before(id.until)) {
				r.Duplicate = append(r.Duplicate, transport.Duplicate{Index: i, Offset: id.offset})
				continue
			}
		}
		if b.Due != nil && b.Due[i].After(now) {
			w := &scheduled{due: b.Due[i], partition: p, envelope: env, byUser: byUser}
			s.schedule.add(w)
			if byUser {
				p.ids[env.ID] = userID{waits: w}
			}
			r.Waiting = append(r.Waiting, i)
			continue
		}
		offset := p.add(env, now)
		if r.First == 0 {
			r.First = offset
		}
		if dedup := p.topic.config.DedupIDs; byUser && dedup > 0 {
			p.ids[env.ID] = userID{offset: offset, until: now.Add(dedup)}
		}
	}
	if r.First > 0 {
		s.addedLocked(p)
	}
	if r.Waiting != nil {
		s.notifyLocked()
	}
	return r
}

// addedLocked tells who waits for events of a partition.
func (s *logStore) addedLocked(p *logPartition) {
	for _, c := range p.topic.consumers {
		c.addedLocked(p.number)
	}
	first := p.topic.config.Retain.Age > 0 && p.events[0].at.Equal(s.last) // nobody looks at ages yet
	if first || p.beyond(s.last) {
		s.notifyLocked()
	}
}
