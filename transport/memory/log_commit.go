package memory

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// Commit settles events: what may fail comes first.
func (m *logMember) Commit(ctx context.Context, l transport.Lease, c transport.Commit) error {
	part, held, err := m.enter(ctx, l)
	if err != nil {
		return err
	}
	defer m.log.store.mu.Unlock()
	if err := m.consumer.check(part, held, &c); err != nil {
		return fmt.Errorf("memory: commit to topic %q, partition %d: %w", m.config.Topic, l.Partition, err)
	}
	m.consumer.commitLocked(part, held, &c)
	return nil
}

// check says what is wrong with a commit.
func (c *consumer) check(part *consumerPart, held *lease, commit *transport.Commit) error {
	named := make(map[transport.EventRef]bool)
	offset := func(offset uint64) error {
		if offset == 0 || offset >= part.partition.next() || offset >= part.acks.End() || !held.Covers(offset) {
			return fmt.Errorf("%w: offset %d, of a lease from %d to %d, with events 1 to %d and a window of %d to %d", transport.ErrInvalidCommit,
				offset, held.From, held.To, part.partition.next()-1, part.acks.Low(), part.acks.End()-1)
		}
		named[transport.EventRef{Offset: offset}] = true
		return nil
	}
	letter := func(id uint64) error {
		if have := c.letters.byID[id]; have != nil {
			if have.Partition != part.partition.number || !held.Covers(have.Offset) {
				return fmt.Errorf("%w: letter %d is of partition %d, offset %d", transport.ErrInvalidCommit, id, have.Partition, have.Offset)
			}
			named[transport.EventRef{Offset: have.Offset, Letter: id}] = true
		}
		return nil
	}
	ref := func(ref transport.EventRef) error {
		if ref.Letter != 0 {
			return letter(ref.Letter)
		}
		return offset(ref.Offset)
	}
	for _, o := range commit.Acked {
		if err := offset(o); err != nil {
			return err
		}
	}
	for _, id := range commit.AckedLetters {
		if err := letter(id); err != nil {
			return err
		}
	}
	for _, d := range commit.Deferred {
		if err := ref(d.Ref()); err != nil {
			return err
		}
	}
	for _, d := range commit.Dead {
		if err := ref(d.Ref()); err != nil {
			return err
		}
	}
	for i := range commit.Append {
		if b := &commit.Append[i]; b.Within.Letter == 0 && !named[b.Within] {
			return fmt.Errorf("%w: it appends within offset %d and does not settle that", transport.ErrInvalidCommit, b.Within.Offset)
		} else if _, err := c.store.targetLocked(&b.Batch); err != nil {
			return err
		}
	}
	return nil
}

// commitLocked does what a commit says.
func (c *consumer) commitLocked(part *consumerPart, held *lease, commit *transport.Commit) {
	bounded := part.acks.End() < part.partition.next()
	low := part.acks.Low()
	settled := make(map[transport.EventRef]bool) // by this commit
	for _, offset := range commit.Acked {
		ref := transport.EventRef{Offset: offset}
		settled[ref] = part.settle(ref) || settled[ref] // named twice, perhaps
	}
	for _, id := range commit.AckedLetters {
		if have := c.letters.byID[id]; have != nil && have.Replaying {
			ref := transport.EventRef{Offset: have.Offset, Letter: id}
			settled[ref] = true
			part.settled(ref)
			c.letters.remove(id)
		}
	}
	for _, d := range commit.Deferred {
		settled[d.Ref()] = c.deferEvent(part, held, d)
	}
	for _, d := range commit.Dead {
		settled[d.Ref()] = c.deadLetter(part, d)
	}
	now := c.store.nowLocked()
	for i := range commit.Append {
		if b := &commit.Append[i]; settled[b.Within] {
			c.store.appendLocked(&b.Batch, now)
		}
	}
	if bounded && part.acks.Low() > low {
		held.wake() // the window was what ended a Fetch
	}
	if c.inRanges() {
		c.balanceLocked()
	}
}

// settle settles an event, and reports whether it had no outcome yet.
func (part *consumerPart) settle(ref transport.EventRef) bool {
	_, deferred := part.deferred[ref]
	settled := part.acks.Settle(ref.Offset)
	if deferred || settled {
		part.settled(ref)
	}
	return deferred || settled
}

// deferEvent keeps a deferral. One of an event that was trimmed meanwhile is a gap.
func (c *consumer) deferEvent(part *consumerPart, held *lease, d transport.Deferral) bool {
	if d.Letter != 0 {
		have := c.letters.byID[d.Letter]
		if have == nil || !have.Replaying {
			return false
		}
		d.Offset = have.Offset
		part.settled(d.Ref())
		part.deferred[d.Ref()] = d
		return true
	}
	if !part.settle(d.Ref()) {
		return false
	}
	if d.Offset < part.partition.first {
		held.member.queue.Gap(c.gap(part, d.Offset, d.Offset, 1))
		return true
	}
	part.deferred[d.Ref()] = d
	return true
}

// deadLetter makes a letter of an event, or has a letter wait again.
func (c *consumer) deadLetter(part *consumerPart, d transport.DeadEvent) bool {
	if d.Letter != 0 {
		have := c.letters.byID[d.Letter]
		if have == nil || !have.Replaying {
			return false
		}
		part.settled(transport.EventRef{Offset: have.Offset, Letter: d.Letter})
		have.Replaying, have.Failure = false, d.Failure.Bounded()
		return true
	}
	if !part.settle(d.Ref()) {
		return false
	}
	letter := storedLetter{Letter: transport.Letter{Partition: part.partition.number, Offset: d.Offset, Failure: d.Failure.Bounded(), Envelope: d.Envelope}}
	if p := part.partition; d.Offset >= p.first {
		letter.Envelope, letter.At = p.at(d.Offset).envelope, p.at(d.Offset).at
	}
	if letter.Envelope == nil {
		letter.Envelope = &transport.Envelope{Topic: c.topic.config.Name, Partitions: c.topic.config.Partitions, Partition: part.partition.number}
	}
	c.letters.add(&letter)
	return true
}
