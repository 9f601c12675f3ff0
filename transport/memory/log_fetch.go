package memory

import (
	"context"

	"github.com/shardbus/shardbus/transport"
)

// Fetch reads events.
func (m *logMember) Fetch(ctx context.Context, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
	part, held, err := m.enter(ctx, l)
	if err != nil {
		return transport.Fetched{}, err
	}
	defer m.log.store.mu.Unlock()
	var f transport.Fetched
	budget := budget{events: max(1, maxEvents), bytes: maxBytes}
	f.Replays = m.consumer.fetchReplays(part, held, &budget)

	p := part.partition
	offset, end := max(after+1, l.From), p.next()
	if !l.Whole() {
		end = min(end, l.To)
	}
	if first := min(p.first, end); offset < first {
		f.Trimmed = first - offset
		offset = first
	}
	bound := min(end, part.acks.End())
	for ; offset < bound; offset++ {
		if part.acks.Settled(offset) {
			continue
		}
		if !budget.take(p.at(offset).envelope) {
			break
		}
		f.Entries = append(f.Entries, p.entry(offset))
	}
	f.Next = offset
	held.fetched = max(held.fetched, min(offset, part.acks.End())-1)
	held.caughtUp = offset >= bound && !budget.full
	return f, nil
}

// budget is what an answer still has room for.
type budget struct {
	events, bytes int
	taken         int
	full          bool // something was left out
}

// take reports whether there is room for an event. The first always has.
func (r *budget) take(env *transport.Envelope) bool {
	size := env.Size()
	if r.taken > 0 && (r.taken >= r.events || size > r.bytes) {
		r.full = true
		return false
	}
	r.taken++
	r.bytes -= size
	return true
}

// fetchReplays gives letters that are marked for replay, each once under a lease. They get half of
// the room, at most, so that new events come too.
func (c *consumer) fetchReplays(part *consumerPart, held *lease, all *budget) (entries []transport.Entry) {
	half := budget{events: (all.events + 1) / 2, bytes: all.bytes / 2}
	for _, letter := range c.letters.marked(part.partition.number) {
		ref := transport.EventRef{Offset: letter.Offset, Letter: letter.ID}
		_, given := held.given[letter.ID]
		_, deferred := part.deferred[ref]
		if given || deferred || !held.Covers(letter.Offset) {
			continue
		}
		if !half.take(letter.Envelope) {
			all.full = true
			break
		}
		all.take(letter.Envelope)
		held.given[letter.ID] = struct{}{}
		entries = append(entries, letter.entry())
	}
	return entries
}

// Load reads deferred events.
func (m *logMember) Load(ctx context.Context, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error) {
	part, held, err := m.enter(ctx, l)
	if err != nil {
		return nil, err
	}
	defer m.log.store.mu.Unlock()
	var entries []transport.Entry
	for _, ref := range refs {
		if _, deferred := part.deferred[ref]; !deferred || !held.Covers(ref.Offset) {
			continue
		}
		switch {
		case ref.Letter != 0:
			if letter := m.consumer.letters.byID[ref.Letter]; letter != nil {
				entries = append(entries, letter.entry())
			}
		case ref.Offset >= part.partition.first:
			held.loaded[ref] = struct{}{}
			entries = append(entries, part.partition.entry(ref.Offset))
		}
	}
	return entries, nil
}
