package file

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// preparedCommit is a commit with what it appends as that is written.
type preparedCommit struct {
	transport.Commit
	appends []*prepared // of Commit.Append
}

// commit settles events: what may fail comes first.
func (s *session) commit(c *consumer, l transport.Lease, commit *preparedCommit) error {
	at, err := s.leased(c, l)
	if err != nil {
		return err
	}
	if err := s.checkCommit(c, at, commit); err != nil {
		return fmt.Errorf("file: commit to topic %q, partition %d: %w", c.topic.name, l.Partition, err)
	}
	o := &outcomes{session: s, c: c, at: at, d: s.part(c, at), key: c.key(l.Partition), settled: make(map[transport.EventRef]bool)}
	low := o.d.Acks.Low()
	for _, offset := range commit.Acked {
		ref := transport.EventRef{Offset: offset}
		o.settled[ref] = o.settle(ref) || o.settled[ref] // named twice, perhaps
	}
	for _, id := range commit.AckedLetters {
		o.ackLetter(id)
	}
	for i := range commit.Deferred {
		d := commit.Deferred[i]
		o.settled[d.Ref()] = o.deferEvent(d)
	}
	for i := range commit.Dead {
		d := &commit.Dead[i]
		o.settled[d.Ref()] = o.deadLetter(d)
	}
	for i, b := range commit.appends {
		if o.settled[commit.Append[i].Within] {
			s.append(b)
		}
	}
	if moved := o.d.Acks.Low() > low; moved {
		s.after = append(s.after, func() {
			if held := at.lease; held != nil && held.bounded {
				held.bounded = false
				held.wake()
			}
		})
	}
	return nil
}

// checkCommit says what is wrong with a commit.
func (s *session) checkCommit(c *consumer, at *part, commit *preparedCommit) error {
	p, next := s.look(at), s.lookPartition(at.partition).Next
	named := make(map[transport.EventRef]bool)
	offset := func(offset uint64) error {
		if offset == 0 || offset >= next || offset >= p.Acks.End() {
			return fmt.Errorf("%w: offset %d, with events 1 to %d and a window of %d to %d", transport.ErrInvalidCommit, offset, next-1, p.Acks.Low(), p.Acks.End()-1)
		}
		if commit.appends != nil {
			named[transport.EventRef{Offset: offset}] = true
		}
		return nil
	}
	letter := func(id uint64) error {
		if have, ok := s.letter(c, id); ok && have.Partition != at.partition.number {
			return fmt.Errorf("%w: letter %d is of partition %d", transport.ErrInvalidCommit, id, have.Partition)
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
	for i := range commit.Deferred {
		if err := ref(commit.Deferred[i].Ref()); err != nil {
			return err
		}
	}
	for i := range commit.Dead {
		if err := ref(commit.Dead[i].Ref()); err != nil {
			return err
		}
	}
	for i, b := range commit.appends {
		if within := commit.Append[i].Within; within.Letter == 0 && !named[within] {
			return fmt.Errorf("%w: it appends within offset %d and does not settle that", transport.ErrInvalidCommit, within.Offset)
		}
		if _, err := s.target(b); err != nil {
			return err
		}
	}
	return nil
}

// outcomes is the settling of a commit.
type outcomes struct {
	*session
	c       *consumer
	at      *part
	d       *partDraft
	key     []byte
	settled map[transport.EventRef]bool // by this commit
}

// settle settles an event, and reports whether it had no outcome yet.
func (o *outcomes) settle(ref transport.EventRef) bool {
	fresh := !o.d.Acks.Settled(ref.Offset)
	if !fresh && !o.deferred(o.c, o.at, ref) {
		return false
	}
	if fresh {
		o.d.own()
		o.d.Acks.Settle(ref.Offset)
	}
	o.forget(ref)
	return true
}

// forget forgets what is kept for an event that has no outcome.
func (o *outcomes) forget(ref transport.EventRef) {
	key := record.RefKey(o.key, ref)
	if o.d.Deferred > 0 && o.tx.Get(store.Deferrals, key) != nil {
		o.tx.Delete(store.Deferrals, key)
		o.d.Deferred--
	}
	if o.d.Started > 0 && o.tx.Get(store.Starts, key) != nil {
		o.tx.Delete(store.Starts, key)
		o.d.Started--
	}
	if at := o.at; ref.Letter != 0 || o.at.Deferred > 0 {
		o.after = append(o.after, func() {
			if at.lease != nil {
				at.lease.settled(ref)
			}
		})
	}
}

// unmark takes the mark for replay from a letter.
func (o *outcomes) unmark(id uint64) {
	o.tx.Delete(store.Replays, record.NumberKey(o.key, id))
	o.d.Replays--
}

// ackLetter removes a letter whose replay is done.
func (o *outcomes) ackLetter(id uint64) {
	have, ok := o.replaying(o.c, id)
	if !ok {
		return
	}
	ref := transport.EventRef{Offset: have.Offset, Letter: id}
	o.settled[ref] = true
	o.forget(ref)
	o.unmark(id)
	o.tx.Delete(store.Letters, record.NumberKey(o.c.prefix(), id))
	o.d.Letters--
}

// deferEvent keeps a deferral. One of an event that was trimmed meanwhile is a gap.
func (o *outcomes) deferEvent(d transport.Deferral) bool {
	if d.Letter != 0 {
		have, ok := o.replaying(o.c, d.Letter)
		if !ok {
			return false
		}
		d.Offset = have.Offset
		o.forget(d.Ref())
	} else if !o.settle(d.Ref()) {
		return false
	} else if d.Offset < o.lookPartition(o.at.partition).First {
		o.d.Gap = o.d.Gap.Add(d.Offset, d.Offset, 1)
		return true
	}
	o.tx.Put(store.Deferrals, record.RefKey(o.key, d.Ref()), record.AppendDeferral(d))
	o.d.Deferred++
	return true
}

// deadLetter makes a letter of an event, or has a letter wait again.
func (o *outcomes) deadLetter(d *transport.DeadEvent) bool {
	if d.Letter != 0 {
		have, ok := o.replaying(o.c, d.Letter)
		if !ok {
			return false
		}
		o.forget(transport.EventRef{Offset: have.Offset, Letter: d.Letter})
		o.unmark(d.Letter)
		have.Failure = d.Failure.Bounded()
		o.tx.Put(store.Letters, record.NumberKey(o.c.prefix(), d.Letter), record.AppendLetter(have))
		return true
	}
	if !o.settle(d.Ref()) {
		return false
	}
	p := o.at.partition
	event := o.tx.Get(store.Events, record.EventKey(p.topic.Number, p.number, d.Offset))
	switch {
	case event != nil:
	case d.Envelope != nil && d.Envelope.Malformed != nil:
		event = d.Envelope.Payload
	case d.Envelope != nil:
		event = record.NewEvent(d.Envelope)
		record.StampEvent(event, time.Time{})
	}
	last, ok := o.consumers[o.c]
	if !ok {
		last = o.c.LastLetter
	}
	o.consumers[o.c] = last + 1
	o.tx.Put(store.Letters, record.NumberKey(o.c.prefix(), last+1), record.AppendLetter(record.Letter{
		Partition: p.number, Offset: d.Offset, Failure: d.Failure.Bounded(), Event: event,
	}))
	o.d.Letters++
	return true
}

// settleLetters replays or purges letters, and returns how many there were.
func (s *session) settleLetters(c *consumer, ids []uint64, what transport.LetterAction) (n int) {
	marked := make(map[*part]bool)
	for _, id := range ids {
		have, ok := s.letter(c, id)
		if !ok || have.Partition >= len(c.parts) {
			continue
		}
		n++
		at := c.parts[have.Partition]
		key := record.NumberKey(c.key(have.Partition), id)
		replays := s.tx.Get(store.Replays, key) != nil
		switch {
		case what == transport.PurgeLetters:
			o := &outcomes{session: s, c: c, at: at, d: s.part(c, at), key: c.key(have.Partition)}
			o.forget(transport.EventRef{Offset: have.Offset, Letter: id})
			if replays {
				o.unmark(id)
			}
			s.tx.Delete(store.Letters, record.NumberKey(c.prefix(), id))
			o.d.Letters--
		case !replays:
			s.tx.Put(store.Replays, key, []byte{1})
			s.part(c, at).Replays++
			marked[at] = true
		}
	}
	s.after = append(s.after, func() {
		for at := range marked {
			if at.lease != nil {
				at.lease.wake()
			}
		}
	})
	return n
}

// cloneCommit copies the lists of a commit.
func cloneCommit(c transport.Commit) transport.Commit {
	c.Acked, c.AckedLetters = slices.Clone(c.Acked), slices.Clone(c.AckedLetters)
	c.Deferred, c.Dead, c.Append = slices.Clone(c.Deferred), slices.Clone(c.Dead), slices.Clone(c.Append)
	return c
}
