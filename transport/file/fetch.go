package file

import (
	"bytes"
	"context"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
	"github.com/shardbus/shardbus/transport/internal/ackset"
)

// viewBytes is how much is copied out of the file in one transaction: while one reads, the file
// can't grow in memory, and keeps the pages that it sees.
const viewBytes = 1 << 20

// Fetch reads events.
func (m *instanceMember) Fetch(ctx context.Context, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
	at, err := m.enter(ctx, l)
	if err != nil {
		return transport.Fetched{}, err
	}
	held, st := at.lease, m.log.st
	held.reading++
	held.caughtUp, held.bounded = true, false // what is added from here on wakes it
	r := reader{log: m.log, at: at, acks: at.Acks, first: max(at.partition.First, held.floor), next: at.partition.Next, budget: budget{events: max(1, maxEvents), bytes: maxBytes}}
	replays, deferred := at.Replays > 0, at.Deferred > 0
	st.mu.Unlock()

	var f transport.Fetched
	if replays {
		f.Replays, err = m.replays(at, held, deferred, &r.budget)
	}
	if err == nil {
		err = r.read(&f, after)
	}

	st.mu.Lock()
	defer st.mu.Unlock()
	held.reading--
	if err == nil {
		end := min(r.next, r.acks.End())
		held.fetched = max(held.fetched, min(f.Next, r.acks.End())-1)
		if f.Next < end || r.budget.full {
			held.caughtUp = false
		}
		held.bounded = f.Next >= end && end < r.next
		if held.bounded && at.Acks.End() > end { // it moved meanwhile
			held.bounded = false
			held.wake()
		}
	}
	if held.reading == 0 && held.trimPending {
		held.trimPending = false
		m.log.settleTrim(m.consumer, at)
	}
	if held.ended || at.lease != held {
		return transport.Fetched{}, fenced(m.consumer, l)
	}
	return f, err
}

// settleTrim accounts for what was trimmed while its holder was reading. Nobody waits for it.
func (l *instance) settleTrim(c *consumer, at *part) {
	_ = l.writer.put(&op{done: make(chan struct{}), run: func(s *session) (any, error) { // a closed log does it when it is opened
		s.trimmed(c, at, at.lease)
		return nil, nil
	}})
}

// budget is what an answer still has room for.
type budget struct {
	events, bytes int
	taken         int
	full          bool // something was left out
}

// take reports whether there is room for one more. The first always has.
func (r *budget) take(size int) bool {
	if r.taken > 0 && (r.taken >= r.events || size > r.bytes) {
		r.full = true
		return false
	}
	r.taken++
	r.bytes -= size
	return true
}

// reader reads events of a partition.
type reader struct {
	log         *instance
	at          *part
	acks        *ackset.Set
	first, next uint64
	budget      budget
}

// read reads what is not settled behind after.
func (r *reader) read(f *transport.Fetched, after uint64) error {
	offset := after + 1
	if first := min(r.first, r.next); offset < first {
		f.Trimmed = first - offset
		offset = first
	}
	end := min(r.next, r.acks.End())
	for more := offset < end; more; {
		var values [][]byte
		var offsets []uint64
		err := r.log.db.View(func(tx *store.Tx) error {
			offset, more = r.copy(tx, offset, end, func(at uint64, value []byte) {
				offsets, values = append(offsets, at), append(values, value)
			})
			return nil
		})
		if err != nil {
			return err
		}
		for i, value := range values {
			f.Entries = append(f.Entries, r.log.entry(r.at.partition, offsets[i], value))
		}
	}
	f.Next = offset
	return nil
}

// copy copies events from offset on, and returns where it goes on, and whether it does.
func (r *reader) copy(tx *store.Tx, offset, end uint64, each func(offset uint64, value []byte)) (uint64, bool) {
	p := r.at.partition
	prefix, copied := record.PartitionKey(p.topic.Number, p.number), 0
	for key, value := range tx.From(store.Events, record.EventKey(p.topic.Number, p.number, offset), prefix) {
		at, _ := record.EventOffset(key, prefix)
		if at >= end {
			break
		}
		if r.acks.Settled(at) {
			continue
		}
		if copied > 0 && copied+len(value) > viewBytes {
			return at, true
		}
		if !r.budget.take(len(value)) {
			return at, false
		}
		copied += len(value)
		each(at, bytes.Clone(value))
		offset = at + 1
	}
	return max(offset, end), false
}

// entry is an event as a caller gets it.
func (l *instance) entry(p *partition, offset uint64, value []byte) transport.Entry {
	env, at := record.ReadEvent(value, p.topic.name, p.topic.count, p.number)
	return transport.Entry{Offset: offset, At: at, Envelope: env}
}

// replays gives letters that are marked for replay, each once under a lease. They get half of the
// room, at most, so that new events come too.
func (m *instanceMember) replays(at *part, held *lease, deferred bool, all *budget) (entries []transport.Entry, err error) {
	half := budget{events: (all.events + 1) / 2, bytes: all.bytes / 2}
	st, c := m.log.st, m.consumer
	prefix := c.key(at.partition.number)
	err = m.log.db.View(func(tx *store.Tx) error {
		for key := range tx.Prefix(store.Replays, prefix) {
			id, _ := record.Number(key, prefix)
			st.mu.Lock()
			_, given := held.given[id]
			st.mu.Unlock()
			value := tx.Get(store.Letters, record.NumberKey(c.prefix(), id))
			if given || value == nil {
				continue
			}
			letter, ok := record.ReadLetter(bytes.Clone(value))
			ref := transport.EventRef{Offset: letter.Offset, Letter: id}
			if !ok || deferred && tx.Get(store.Deferrals, record.RefKey(prefix, ref)) != nil {
				continue
			}
			if !half.take(len(letter.Event)) {
				all.full = true
				return nil
			}
			all.take(len(letter.Event))
			st.mu.Lock()
			held.given[id] = struct{}{}
			st.mu.Unlock()
			entry := m.log.entry(at.partition, letter.Offset, letter.Event)
			entry.Letter = id
			entries = append(entries, entry)
		}
		return nil
	})
	return entries, err
}

// Load reads deferred events.
func (m *instanceMember) Load(ctx context.Context, l transport.Lease, refs []transport.EventRef) (entries []transport.Entry, err error) {
	at, err := m.enter(ctx, l)
	if err != nil {
		return nil, err
	}
	held, floor := at.lease, max(at.partition.First, at.lease.floor)
	held.reading++
	m.log.st.mu.Unlock()
	for len(refs) > 0 && err == nil {
		err = m.log.db.View(func(tx *store.Tx) error {
			for copied := 0; len(refs) > 0 && copied < viewBytes; refs = refs[1:] {
				if entry, size := m.load(tx, at, refs[0], floor); size > 0 {
					entries = append(entries, entry)
					copied += size
				}
			}
			return nil
		})
	}
	m.log.st.mu.Lock()
	defer m.log.st.mu.Unlock()
	held.reading--
	for _, e := range entries {
		held.loaded[transport.EventRef{Offset: e.Offset, Letter: e.Letter}] = struct{}{}
	}
	if held.reading == 0 && held.trimPending {
		held.trimPending = false
		m.log.settleTrim(m.consumer, at)
	}
	return entries, err
}

// load reads a deferred event; size 0: it is not deferred, or was trimmed.
func (m *instanceMember) load(tx *store.Tx, at *part, ref transport.EventRef, floor uint64) (entry transport.Entry, size int) {
	p := at.partition
	if tx.Get(store.Deferrals, record.RefKey(m.consumer.key(p.number), ref)) == nil {
		return entry, 0
	}
	if ref.Letter != 0 {
		letter, ok := record.ReadLetter(bytes.Clone(tx.Get(store.Letters, record.NumberKey(m.consumer.prefix(), ref.Letter))))
		if !ok {
			return entry, 0
		}
		entry = m.log.entry(p, ref.Offset, letter.Event)
		entry.Letter = ref.Letter
		return entry, len(letter.Event) + 1
	}
	value := tx.Get(store.Events, record.EventKey(p.topic.Number, p.number, ref.Offset))
	if value == nil || ref.Offset < floor {
		return entry, 0
	}
	return m.log.entry(p, ref.Offset, bytes.Clone(value)), len(value)
}
