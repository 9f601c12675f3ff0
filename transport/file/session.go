package file

import (
	"encoding/binary"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

// Keys of the meta bucket.
var (
	numberKey = []byte("number") // the last that was given to a topic or consumer
	takenKey  = []byte("taken")  // the last that was given to an event that waits
)

// session is one transaction of the writer. What is changed stands in drafts until all of it is
// durable: then apply makes it the state. If the transaction fails nothing has changed.
type session struct {
	tx         *store.Tx
	st         *state
	now        time.Time
	partitions map[*partition]*partitionDraft
	parts      map[*part]*partDraft
	consumers  map[*consumer]uint64 // the last letter
	number     uint32               // as in state
	taken      uint64               // likewise
	scheduled  bool                 // events that wait came or went
	due        time.Time            // the first of them then
	added      map[*partition]struct{}
	after      []func() // called by apply
	undo       []func() // called, under the state's lock, if the transaction failed
}

type partitionDraft struct {
	record.Partition
	publishers map[string]pubseq.State
	oldest     time.Time
}

type partDraft struct {
	record.Part
	consumer *consumer
	cloned   bool
	reported bool
}

func newSession(tx *store.Tx, st *state) *session {
	return &session{
		tx: tx, st: st, now: st.now(), number: st.lastNumber, taken: st.taken,
		partitions: make(map[*partition]*partitionDraft), parts: make(map[*part]*partDraft), consumers: make(map[*consumer]uint64),
		added: make(map[*partition]struct{}),
	}
}

// partition is the draft of a partition.
func (s *session) partition(p *partition) *partitionDraft {
	d := s.partitions[p]
	if d == nil {
		d = &partitionDraft{Partition: p.Partition, oldest: p.oldest}
		s.partitions[p] = d
	}
	return d
}

// publisher is what a partition knows of a publisher.
func (s *session) publisher(p *partition, name string) pubseq.State {
	if d := s.partitions[p]; d != nil {
		if st, changed := d.publishers[name]; changed {
			return st
		}
	}
	return p.publishers[name]
}

// setPublisher changes it.
func (d *partitionDraft) setPublisher(name string, st pubseq.State) {
	if d.publishers == nil {
		d.publishers = make(map[string]pubseq.State)
	}
	d.publishers[name] = st
}

// part is the draft of a consumer's part.
func (s *session) part(c *consumer, at *part) *partDraft {
	d := s.parts[at]
	if d == nil {
		d = &partDraft{Part: at.Part, consumer: c, reported: at.reported}
		if d.reported {
			d.Gap, d.reported = record.Gap{}, false
		}
		s.parts[at] = d
	}
	return d
}

// look is a part as the transaction has it so far, for reading.
func (s *session) look(at *part) *record.Part {
	if d := s.parts[at]; d != nil {
		return &d.Part
	}
	return &at.Part
}

// lookPartition is a partition as the transaction has it so far, for reading.
func (s *session) lookPartition(p *partition) record.Partition {
	if d := s.partitions[p]; d != nil {
		return d.Partition
	}
	return p.Partition
}

// own makes the draft's acks its own.
func (d *partDraft) own() {
	if !d.cloned {
		d.Acks, d.cloned = d.Acks.Clone(), true
	}
}

// newNumber is one that no topic and no consumer has had.
func (s *session) newNumber() uint32 {
	s.number++
	return s.number
}

// flush writes the drafts.
func (s *session) flush() {
	for p, d := range s.partitions {
		s.tx.Put(store.Partitions, record.PartitionKey(p.topic.Number, p.number), record.AppendPartition(d.Partition))
		for name, st := range d.publishers {
			key := record.PublisherKey(p.topic.Number, p.number, name)
			if st.Last == 0 {
				s.tx.Delete(store.Publishers, key)
			} else {
				s.tx.Put(store.Publishers, key, record.AppendPublisher(st))
			}
		}
	}
	for at, d := range s.parts {
		s.tx.Put(store.Parts, d.consumer.key(at.partition.number), record.AppendPart(d.Part))
	}
	for c, last := range s.consumers {
		s.tx.Put(store.Consumers, record.ConsumerKey(c.topic.Number, c.name), record.AppendConsumer(record.Consumer{Number: c.Number, LastLetter: last}))
	}
	if s.number != s.st.lastNumber {
		s.tx.Put(store.Meta, numberKey, binary.BigEndian.AppendUint32(nil, s.number))
	}
	if s.taken != s.st.taken {
		s.tx.Put(store.Meta, takenKey, binary.BigEndian.AppendUint64(nil, s.taken))
	}
	if s.scheduled {
		s.due = firstDue(s.tx)
	}
}

// firstDue is when the first event is due that waits; zero if none does.
func firstDue(tx *store.Tx) time.Time {
	for key := range tx.Prefix(store.Schedule, nil) {
		return record.Due(key)
	}
	return time.Time{}
}

// apply makes the drafts the state, once they are durable.
func (s *session) apply() {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	s.st.lastNumber, s.st.taken = s.number, s.taken
	if s.scheduled {
		s.st.due = s.due
		s.st.notify()
	}
	for p, d := range s.partitions {
		first := p.oldest.IsZero() && !d.oldest.IsZero() && p.topic.Config.Retain.Age > 0
		p.Partition, p.oldest = d.Partition, d.oldest
		for name, st := range d.publishers {
			if st.Last == 0 {
				delete(p.publishers, name)
			} else {
				p.publishers[name] = st
			}
		}
		if first || p.over(p.Partition) {
			s.st.notify()
		}
	}
	for at, d := range s.parts {
		at.Part, at.reported = d.Part, d.reported
	}
	for c, last := range s.consumers {
		c.LastLetter = last
	}
	for _, f := range s.after {
		f()
	}
	for at := range s.parts {
		tell(at)
	}
	for p := range s.added {
		for _, c := range p.topic.consumers {
			if held := c.parts[p.number].lease; held != nil && held.caughtUp {
				held.wake()
			}
		}
	}
}

// abort takes back what apply can't any more.
func (s *session) abort() {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	for _, f := range s.undo {
		f()
	}
}

// tell tells the holder of a part what was trimmed before it got it.
func tell(at *part) {
	if at.Gap.Count == 0 || at.reported || at.lease == nil || at.lease.ended {
		return
	}
	at.reported = true
	at.lease.member.queue.Gap(transport.Gap{
		Topic: at.partition.topic.name, Partition: at.partition.number, From: at.Gap.From, To: at.Gap.To, Count: at.Gap.Count,
		Since: time.Now(), Reason: transport.Trimmed,
	})
}
