package file

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
	"github.com/shardbus/shardbus/transport/internal/ackset"
)

// consumer finds a consumer.
func (s *session) consumer(topic, name string) (*consumer, error) { return s.st.consumer(topic, name) }

// topic finds a topic.
func (st *state) topic(name string) (*topic, error) {
	if t := st.topics[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("file: %w: %q", transport.ErrNoSuchTopic, name)
}

func (st *state) consumer(topic, name string) (*consumer, error) {
	t, err := st.topic(topic)
	if err != nil {
		return nil, err
	}
	if c := t.consumers[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("file: %w: %q of topic %q", transport.ErrNoSuchConsumer, name, topic)
}

// join makes m the member of a consumer, which is made if it is new, and assigns it all partitions.
// It runs alone in its transaction.
func (s *session) join(m *membership) (*consumer, error) {
	config := m.config
	t, err := s.st.topic(config.Topic)
	if err != nil {
		return nil, err
	}
	c := t.consumers[config.Name]
	if c == nil {
		c = s.newConsumer(t, config)
		s.after = append(s.after, func() { t.consumers[config.Name] = c })
	} else if c.member != nil {
		return nil, fmt.Errorf("file: consume topic %q as %q: %w: the bus consumes it already", config.Topic, config.Name, transport.ErrInUse)
	}
	s.after = append(s.after, func() { c.member = m })
	for _, at := range c.parts {
		s.assign(c, at, m)
	}
	return c, nil
}

func (s *session) newConsumer(t *topic, config transport.ConsumerConfig) *consumer {
	window := config.Window
	if window <= 0 {
		window = transport.DefaultWindow
	}
	window = min(window, transport.MaxWindow)
	c := &consumer{Consumer: record.Consumer{Number: s.newNumber()}, topic: t, name: config.Name}
	s.consumers[c] = 0
	for _, p := range t.partitions {
		low := s.place(p, config.Start)
		c.parts = append(c.parts, &part{partition: p, Part: record.Part{Acks: ackset.New(low, window)}})
	}
	return c
}

// place is the offset where a consumer begins.
func (s *session) place(p *partition, start transport.Start) uint64 {
	at := s.lookPartition(p)
	switch start.From {
	case transport.AtLatest:
	case transport.AtEarliest:
		return at.First
	case transport.AtTime:
		low, high := at.First, at.Next // the first event at that time or later is here
		for low < high {
			middle := low + (high-low)/2
			if record.EventAt(s.tx.Get(store.Events, record.EventKey(p.topic.Number, p.number, middle))).Before(start.Time) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		return low
	case transport.AtOffset:
		if offset, ok := start.Offsets[p.number]; ok {
			return min(max(1, offset), at.Next)
		}
	}
	return at.Next
}

// assign gives a member the lease of a partition.
func (s *session) assign(c *consumer, at *part, m *membership) {
	d := s.part(c, at)
	d.Fence++
	d.Held = true
	s.trimmed(c, at, nil)
	partition := s.lookPartition(at.partition)
	held := &lease{
		Lease:  transport.Lease{Partition: at.partition.number, Fence: d.Fence, Token: c.topic.Incarnation},
		member: m, caughtUp: true, given: make(map[uint64]struct{}), loaded: make(map[transport.EventRef]struct{}),
	}
	st := transport.LeaseState{
		Incarnation: c.topic.Incarnation, Low: d.Acks.Low(), Next: partition.Next, Acked: d.Acks.Acked(), Window: d.Acks.Window(),
	}
	if d.Deferred > 0 {
		prefix := c.key(at.partition.number)
		for key, value := range s.tx.Prefix(store.Deferrals, prefix) {
			ref, _ := record.Ref(key, prefix)
			deferral, ok := record.ReadDeferral(value, ref)
			if !ok {
				deferral = transport.Deferral{Offset: ref.Offset, Letter: ref.Letter, Attempt: 1, Err: "what was kept of it is damaged"}
			}
			st.Deferred = append(st.Deferred, deferral)
		}
	}
	for offset := d.Acks.First(0); offset < d.SuspectTo; offset = d.Acks.First(offset + 1) {
		st.Suspects = append(st.Suspects, offset)
	}
	s.after = append(s.after, func() {
		at.lease = held
		m.queue.Assign(held.Lease, st)
	})
}

// end ends the lease of a part without Release.
func (s *session) end(c *consumer, at *part) {
	if d := s.part(c, at); d.Held {
		d.Held, d.SuspectTo = false, min(d.Acks.End(), s.lookPartition(at.partition).Next)
	}
	s.after = append(s.after, func() { at.lease = nil })
}

// leased is the part of a lease, if that lives.
func (s *session) leased(c *consumer, l transport.Lease) (*part, error) {
	if l.Partition >= 0 && l.Partition < len(c.parts) {
		at := c.parts[l.Partition]
		if p := s.look(at); p.Held && p.Fence == l.Fence && l.Token == c.topic.Incarnation {
			return at, nil
		}
	}
	return nil, fenced(c, l)
}

func fenced(c *consumer, l transport.Lease) error {
	return fmt.Errorf("file: %w: consumer %q, partition %d of topic %q, fence %d", transport.ErrFenced, c.name, l.Partition, c.topic.name, l.Fence)
}

// release ends a lease in order.
func (s *session) release(c *consumer, l transport.Lease) error {
	at, err := s.leased(c, l)
	if err != nil {
		return err
	}
	d := s.part(c, at)
	d.Held, d.SuspectTo = false, 0
	s.after = append(s.after, func() {
		at.lease.member.leaving = true
		at.lease = nil
	})
	return nil
}

// begin counts a start.
func (s *session) begin(c *consumer, l transport.Lease, ref transport.EventRef) (starts int, err error) {
	at, err := s.leased(c, l)
	if err != nil {
		return 0, err
	}
	if !s.pends(c, at, ref) {
		return 0, fmt.Errorf("file: begin: %w: offset %d, letter %d is settled", transport.ErrInvalidCommit, ref.Offset, ref.Letter)
	}
	key := record.RefKey(c.key(l.Partition), ref)
	starts, counted := record.ReadStarts(s.tx.Get(store.Starts, key))
	if !counted {
		s.part(c, at).Started++
	}
	s.tx.Put(store.Starts, key, record.AppendStarts(starts+1))
	return starts + 1, nil
}

// pends reports whether an event waits for an outcome.
func (s *session) pends(c *consumer, at *part, ref transport.EventRef) bool {
	p := s.look(at)
	switch {
	case ref.Letter != 0:
		have, ok := s.replaying(c, ref.Letter)
		return ok && have.Offset == ref.Offset && have.Partition == at.partition.number
	case p.Acks.Settled(ref.Offset):
		return s.deferred(c, at, ref)
	default:
		return ref.Offset > 0 && ref.Offset < s.lookPartition(at.partition).Next
	}
}

// deferred reports whether an event is deferred.
func (s *session) deferred(c *consumer, at *part, ref transport.EventRef) bool {
	return s.look(at).Deferred > 0 && s.tx.Get(store.Deferrals, record.RefKey(c.key(at.partition.number), ref)) != nil
}

// letter is a letter of a consumer.
func (s *session) letter(c *consumer, id uint64) (record.Letter, bool) {
	value := s.tx.Get(store.Letters, record.NumberKey(c.prefix(), id))
	if value == nil {
		return record.Letter{}, false
	}
	return record.ReadLetter(value)
}

// replaying is a letter of a consumer that is marked for replay.
func (s *session) replaying(c *consumer, id uint64) (record.Letter, bool) {
	have, ok := s.letter(c, id)
	if !ok || s.tx.Get(store.Replays, record.NumberKey(c.key(have.Partition), id)) == nil {
		return record.Letter{}, false
	}
	return have, true
}

// seek moves a consumer. It runs alone in its transaction.
func (s *session) seek(c *consumer, to transport.Start) {
	for _, at := range c.parts {
		d, prefix := s.part(c, at), c.key(at.partition.number)
		for _, b := range []store.Bucket{store.Deferrals, store.Starts} {
			for _, key := range s.tx.Keys(b, prefix, -1) {
				s.tx.Delete(b, key)
			}
		}
		d.Deferred, d.Started, d.SuspectTo, d.Held, d.Gap = 0, 0, 0, false, record.Gap{}
		d.Acks, d.cloned = ackset.New(s.place(at.partition, to), d.Acks.Window()), true
		if held := at.lease; held != nil {
			s.after = append(s.after, func() {
				at.lease = nil
				held.member.queue.Lost(held.Lease, transport.ErrSought, nil)
			})
		}
		if m := c.member; m != nil && !m.leaving {
			s.assign(c, at, m)
		}
	}
}
