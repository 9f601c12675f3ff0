package file

import (
	"bytes"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

// prepared is a batch with its events as they are written, which needs no transaction.
type prepared struct {
	err       error // why it can't be taken
	topic     string
	partition int
	publisher transport.PublisherState
	due       []time.Time
	ids       []string // those that users gave; empty: none was; nil: none at all
	values    [][]byte
	bytes     int
}

// prepare encodes a batch, on its caller's goroutine.
func prepare(b *transport.Batch, limit transport.LogCapabilities) *prepared {
	p := &prepared{topic: b.Topic, partition: b.Partition, publisher: b.Publisher, err: b.Validate()}
	if p.err != nil {
		return p
	}
	if b.Due != nil {
		p.due = append(p.due, b.Due...)
	}
	if b.UserID != nil {
		p.ids = make([]string, len(b.Envelopes))
	}
	p.values = make([][]byte, len(b.Envelopes))
	for i, env := range b.Envelopes {
		if p.err = limit.CheckPayload(env.Payload); p.err != nil {
			return p
		}
		env.Seq = 0
		if b.Publisher.ID != "" {
			env.Seq = b.Publisher.Seq + uint64(i) //nolint:gosec // an index
		}
		if b.UserID != nil && b.UserID[i] {
			p.ids[i] = env.ID
		}
		p.values[i] = record.NewEvent(env)
		p.bytes += len(p.values[i])
	}
	return p
}

// target is the partition of a batch, or what is wrong with it.
func (s *session) target(b *prepared) (*partition, error) {
	if b.err != nil {
		return nil, fmt.Errorf("file: append: %w", b.err)
	}
	t := s.st.topics[b.topic]
	if t == nil {
		return nil, fmt.Errorf("file: append: %w: %q", transport.ErrNoSuchTopic, b.topic)
	}
	if err := t.Config.Holds(b.partition); err != nil {
		return nil, fmt.Errorf("file: append: %w", err)
	}
	return t.partitions[b.partition], nil
}

// append takes a batch or says why not.
func (s *session) append(b *prepared) transport.AppendResult {
	p, err := s.target(b)
	if err != nil {
		return transport.AppendResult{Err: err}
	}
	name := record.PublisherName(b.publisher.ID)
	take, before, err := s.publisher(p, name).Check(b.publisher, len(b.values), s.now)
	if err != nil {
		return transport.AppendResult{Err: fmt.Errorf("file: append to topic %q: %w", b.topic, err)}
	}
	if !take {
		return before
	}
	d := s.partition(p)
	r := s.take(p, d, b)
	if b.publisher.ID != "" {
		d.setPublisher(name, pubseq.Took(b.publisher, len(b.values), r, s.now))
	}
	return r
}

// take takes the events of a batch.
func (s *session) take(p *partition, d *partitionDraft, b *prepared) (r transport.AppendResult) {
	dedup := p.topic.Config.DedupIDs
	for i, value := range b.values {
		var idKey []byte
		if b.ids != nil && b.ids[i] != "" {
			idKey = record.UserIDKey(p.topic.Number, p.number, b.ids[i])
			if first, seen := s.seen(idKey); seen {
				r.Duplicate = append(r.Duplicate, transport.Duplicate{Index: i, Offset: first})
				continue
			}
		}
		if b.due != nil && b.due[i].After(s.now) {
			s.taken++
			key := record.DueKey(b.due[i], s.taken)
			waits := record.Scheduled{Topic: p.topic.Number, Partition: p.number, Event: value}
			if idKey != nil {
				waits.UserID = b.ids[i]
				s.tx.Put(store.UserIDs, idKey, record.AppendUserID(record.UserID{Waits: key}))
			}
			s.tx.Put(store.Schedule, key, record.AppendScheduled(waits))
			s.scheduled = true
			r.Waiting = append(r.Waiting, i)
			continue
		}
		offset := s.add(p, d, value)
		if r.First == 0 {
			r.First = offset
		}
		if idKey != nil && dedup > 0 {
			s.remember(idKey, offset, s.now.Add(dedup))
		}
	}
	return r
}

// add gives an event its offset.
func (s *session) add(p *partition, d *partitionDraft, value []byte) (offset uint64) {
	offset = d.Next
	record.StampEvent(value, s.now)
	s.tx.Put(store.Events, record.EventKey(p.topic.Number, p.number, offset), value)
	if d.First == d.Next {
		d.oldest = s.now
	}
	d.Next++
	d.Bytes += uint64(len(value))
	s.added[p] = struct{}{}
	return offset
}

// seen reports whether an ID that a user gave is remembered, and the offset of its first event. An
// ID whose time is over is forgotten.
func (s *session) seen(key []byte) (offset uint64, seen bool) {
	id, ok := record.ReadUserID(s.tx.Get(store.UserIDs, key))
	switch {
	case !ok:
		return 0, false
	case id.Waits != nil || s.now.Before(id.Until):
		return id.Offset, true
	}
	s.tx.Delete(store.UserIDs, key)
	s.tx.Delete(store.Expiries, record.ExpiryKey(id.Until, key))
	return 0, false
}

// remember remembers an ID until a time.
func (s *session) remember(key []byte, offset uint64, until time.Time) {
	s.tx.Put(store.UserIDs, key, record.AppendUserID(record.UserID{Offset: offset, Until: until}))
	s.tx.Put(store.Expiries, record.ExpiryKey(until, key), []byte{1})
}

// dueStep is how many events that are due are added in a transaction.
const dueStep = 500

// addDue adds events that are due. Those of topics that are gone are dropped.
func (s *session) addDue() {
	var keys [][]byte
	var waiting []record.Scheduled
	for key, value := range s.tx.Prefix(store.Schedule, nil) {
		if len(keys) == dueStep || record.Due(key).After(s.now) {
			break
		}
		w, ok := record.ReadScheduled(bytes.Clone(value))
		if !ok {
			w = record.Scheduled{} // its topic can't be told any more
		}
		keys, waiting = append(keys, bytes.Clone(key)), append(waiting, w)
	}
	for i, key := range keys {
		s.tx.Delete(store.Schedule, key)
		s.scheduled = true
		w := waiting[i]
		t := s.st.byNumber[w.Topic]
		if t == nil || t.Config.Holds(w.Partition) != nil {
			continue
		}
		p := t.partitions[w.Partition]
		offset := s.add(p, s.partition(p), w.Event)
		if w.UserID == "" {
			continue
		}
		idKey := record.UserIDKey(t.Number, p.number, w.UserID)
		s.tx.Delete(store.UserIDs, idKey)
		if until := record.Due(key).Add(t.Config.DedupIDs); until.After(s.now) {
			s.remember(idKey, offset, until)
		}
	}
}

// cancel removes events that wait under an ID, and reports whether there were any.
func (s *session) cancel(t *topic, id string) (found bool) {
	for _, p := range t.partitions {
		key := record.UserIDKey(t.Number, p.number, id)
		have, ok := record.ReadUserID(s.tx.Get(store.UserIDs, key))
		if !ok || have.Waits == nil {
			continue
		}
		s.tx.Delete(store.Schedule, bytes.Clone(have.Waits))
		s.tx.Delete(store.UserIDs, key)
		s.scheduled, found = true, true
	}
	return found
}
