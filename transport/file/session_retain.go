package file

import (
	"bytes"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// trimStep is how many keys are removed in a transaction.
const trimStep = 1000

// trim removes the oldest events of a partition that are to go, and reports whether more are.
func (s *session) trim(p *partition) (more bool) {
	at, left, age := s.lookPartition(p), trimStep, p.topic.Config.Retain.Age
	oldest := p.oldest
	for ; at.First < at.Next; left-- {
		key := record.EventKey(p.topic.Number, p.number, at.First)
		value := s.tx.Get(store.Events, key)
		oldest = record.EventAt(value)
		if !p.over(at) && (age == 0 || s.now.Sub(oldest) < age) {
			break
		}
		if left == 0 {
			more = true
			break
		}
		s.tx.Delete(store.Events, key)
		at.First++
		at.Bytes -= min(at.Bytes, uint64(len(value)))
	}
	if left == trimStep {
		if oldest != p.oldest {
			s.after = append(s.after, func() { p.oldest = oldest })
		}
		return false
	}
	if at.First == at.Next {
		oldest = time.Time{}
	}
	d := s.partition(p)
	d.Partition, d.oldest = at, oldest
	for _, c := range p.topic.consumers {
		s.trimmed(c, c.parts[p.number], c.parts[p.number].lease)
	}
	return more
}

// trimmed accounts for what was trimmed before a consumer got it. held is its lease, if it has one
// already.
func (s *session) trimmed(c *consumer, at *part, held *lease) {
	first, p := s.lookPartition(at.partition).First, s.look(at)
	if p.Acks.Low() >= first && p.Deferred == 0 {
		return
	}
	var fetched uint64
	loaded := make(map[transport.EventRef]struct{})
	if held != nil {
		s.st.mu.Lock()
		if held.reading > 0 { // who knows what it will have read: it asks again
			held.trimPending = true
			s.st.mu.Unlock()
			return
		}
		floor := held.floor
		held.floor, fetched = first, held.fetched
		for ref := range held.loaded {
			loaded[ref] = struct{}{}
		}
		s.st.mu.Unlock()
		s.undo = append(s.undo, func() { held.floor = floor })
	}
	d := s.part(c, at)
	if d.Acks.Low() < first {
		d.own()
		d.Gap = d.Gap.Add(d.Acks.Trim(first, func(offset uint64) bool { return offset <= fetched }))
	}
	if d.Deferred > 0 {
		s.trimDeferrals(c, at, d, first, loaded)
	}
}

// trimDeferrals drops deferrals of events that were trimmed, but for those that were loaded.
func (s *session) trimDeferrals(c *consumer, at *part, d *partDraft, first uint64, loaded map[transport.EventRef]struct{}) {
	prefix := c.key(at.partition.number)
	var gone []transport.EventRef
	for key := range s.tx.Prefix(store.Deferrals, prefix) {
		ref, _ := record.Ref(key, prefix)
		if ref.Offset >= first {
			break
		}
		if _, has := loaded[ref]; !has && ref.Letter == 0 {
			gone = append(gone, ref)
		}
	}
	o := &outcomes{session: s, c: c, at: at, d: d, key: prefix}
	for _, ref := range gone {
		o.forget(ref)
		d.Gap = d.Gap.Add(ref.Offset, ref.Offset, 1)
	}
}

// discard notes that all keys of a bucket that begin with prefix are to be removed.
func (s *session) discard(b store.Bucket, prefix []byte) {
	s.tx.Put(store.Garbage, append([]byte{byte(b)}, prefix...), []byte{1})
}

// forgetConsumer removes a consumer. It runs alone in its transaction.
func (s *session) forgetConsumer(c *consumer) {
	s.tx.Delete(store.Consumers, record.ConsumerKey(c.topic.Number, c.name))
	for _, at := range c.parts {
		s.tx.Delete(store.Parts, c.key(at.partition.number))
	}
	for _, b := range []store.Bucket{store.Deferrals, store.Starts, store.Replays, store.Letters} {
		s.discard(b, c.prefix())
	}
	s.after = append(s.after, func() {
		delete(c.topic.consumers, c.name)
		s.st.garbage = true
		s.st.notify()
	})
}

// deleteTopic removes a topic. It runs alone in its transaction.
func (s *session) deleteTopic(t *topic) {
	s.tx.Delete(store.Topics, []byte(t.Config.Name))
	for _, b := range []store.Bucket{
		store.Events, store.Partitions, store.Publishers, store.Consumers, store.Parts, store.Deferrals, store.Starts, store.Letters, store.Replays, store.UserIDs,
	} {
		s.discard(b, record.TopicKey(t.Number))
	}
	s.after = append(s.after, func() {
		delete(s.st.topics, t.Config.Name)
		delete(s.st.byNumber, t.Number)
		s.st.garbage = true
		s.st.notify()
	})
}

// sweep removes keys that were discarded, IDs whose time is over, and publishers that are idle. It
// reports whether there is more to remove.
func (s *session) sweep() (more bool) {
	left := trimStep
	for key := range s.tx.Prefix(store.Garbage, nil) {
		key = bytes.Clone(key)
		b, prefix := store.Bucket(key[0]), key[1:]
		keys := s.tx.Keys(b, prefix, left)
		for _, k := range keys {
			s.tx.Delete(b, k)
		}
		if len(keys) == left {
			return true
		}
		s.tx.Delete(store.Garbage, key)
		return true // the bucket of garbage has changed: the next one in another step
	}
	var over [][]byte
	for key := range s.tx.Prefix(store.Expiries, nil) {
		if record.Due(key).After(s.now) {
			break
		}
		if left == 0 {
			more = true
			break
		}
		left--
		over = append(over, bytes.Clone(key))
	}
	for _, key := range over {
		s.tx.Delete(store.Expiries, key)
		id := record.ExpiryUserID(key)
		if have, ok := record.ReadUserID(s.tx.Get(store.UserIDs, id)); ok && have.Waits == nil && !s.now.Before(have.Until) {
			s.tx.Delete(store.UserIDs, id)
		}
	}
	for _, t := range s.st.topics {
		for _, p := range t.partitions {
			for name, st := range p.publishers {
				if st.Idle(s.now) && left > 0 && s.publisher(p, name).Idle(s.now) {
					left--
					st.Last = 0
					s.partition(p).setPublisher(name, st)
				}
			}
		}
	}
	return more || left == 0
}
