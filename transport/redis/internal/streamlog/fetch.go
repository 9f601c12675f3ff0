package streamlog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

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

// maxFetch is how many events a script reads at once.
const maxFetch = 512

// Fetch reads events.
func (m *member) Fetch(ctx context.Context, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
	h, err := m.enter(ctx, l)
	if err != nil {
		return transport.Fetched{}, err
	}
	defer h.exit()
	f, err := h.fetch(ctx, after, max(1, maxEvents), maxBytes)
	if err != nil {
		return transport.Fetched{}, fmt.Errorf("redis: fetch partition %d of topic %q: %w", l.Partition, m.config.Topic, err)
	}
	return f, nil
}

func (h *lease) fetch(ctx context.Context, after uint64, maxEvents, maxBytes int) (f transport.Fetched, err error) {
	if err := h.refresh(ctx); err != nil {
		return f, err
	}
	all := budget{events: maxEvents, bytes: maxBytes}
	offset := max(after+1, 1)
	for {
		end := h.acks.End()
		count := 0
		if offset < end {
			// Settled ones take no room in the answer, so some more are read.
			count = min(maxEvents-all.taken+16, int(min(end-offset, maxFetch)), maxFetch) //nolint:gosec // bounded
		}
		read, err := h.read1(ctx, offset-1, count, max(1, all.bytes))
		if err != nil {
			return f, err
		}
		if f.Replays == nil && all.taken == 0 {
			if f.Replays, err = h.fetchReplays(ctx, &all); err != nil {
				return f, err
			}
		}
		gaps, err := h.account(ctx, read.first)
		if err != nil {
			return f, err
		}
		h.tell(gaps)
		if first := min(read.first, read.next); offset < first {
			f.Trimmed += first - offset
			offset = first
		}
		bound := min(read.next, h.acks.End())
		for _, e := range read.entries {
			if e.offset < offset || e.offset >= bound {
				continue
			}
			if h.acks.Settled(e.offset) {
				offset = e.offset + 1
				h.lastAt, h.lastID = e.offset, e.id
				continue
			}
			env := decodeEvent(h.part.topic.placement, h.part.number, e.event)
			if !all.take(env) {
				break
			}
			f.Entries = append(f.Entries, transport.Entry{Offset: e.offset, At: takenAt(e.id), Envelope: env})
			h.ids[e.offset] = e.id
			h.lastAt, h.lastID = e.offset, e.id
			if e.offset > h.seenTo {
				h.seenTo, h.seenID = e.offset, e.id
			}
			offset = e.offset + 1
		}
		if all.full || all.taken >= maxEvents || offset >= bound || len(read.entries) == 0 && f.Trimmed == 0 {
			f.Next = offset
			m := h.part.member
			m.mu.Lock()
			h.next, h.first = max(h.next, read.next), max(h.first, read.first)
			h.fetchedTo = max(h.fetchedTo, min(offset, h.acks.End())-1)
			if h.caughtUp = offset >= bound && !all.full; h.caughtUp && h.next > read.next && !h.over { // more came meanwhile
				h.caughtUp = false
				m.queue.Wake(h.Lease)
			}
			m.mu.Unlock()
			return f, nil
		}
	}
}

// page is what the fetch script read.
type page struct {
	next, first uint64
	entries     []entry
}

type entry struct {
	id     string
	offset uint64
	event  string
}

// read1 reads entries behind an offset.
func (h *lease) read1(ctx context.Context, after uint64, count, bytes int) (page, error) {
	id := ""
	if after > 0 && after == h.lastAt {
		id = h.lastID
	}
	p := h.part
	reply, err := p.member.log.do(ctx, nodes.Command{
		Slot: p.slot, Script: scripts.Fetch, Keys: []string{p.meta, p.log},
		Args: []string{p.keys.lease, h.Token, p.keys.replays, decimal(after), id, strconv.Itoa(count), strconv.Itoa(bytes)}, Repeatable: true,
	})
	if err != nil {
		return page{}, err
	}
	list, err := reply.ToArray()
	if err != nil || len(list) < 2 {
		return page{}, fmt.Errorf("a reply of the fetch script: %w", err)
	}
	switch what := text(&list[0]); {
	case what == "DIVERGED":
		return page{}, h.diverged(number(text(&list[1])))
	case what != "OK" || len(list) < 5:
		return page{}, h.refused(text(&list[1]))
	}
	found := page{next: number(text(&list[1])) + 1, first: number(text(&list[2]))}
	if version := text(&list[3]); version != h.version {
		if err := h.readMarks(ctx, version); err != nil {
			return page{}, err
		}
	}
	entries, err := list[4].ToArray()
	if err != nil {
		return page{}, fmt.Errorf("a reply of the fetch script: %w", err)
	}
	for i := range entries {
		words, err := entries[i].ToArray()
		if err != nil || len(words) != 3 {
			return page{}, fmt.Errorf("an entry of the fetch script: %w", err)
		}
		found.entries = append(found.entries, entry{text(&words[0]), number(text(&words[1])), text(&words[2])})
	}
	return found, nil
}

// readMarks reads which letters are marked for replay.
func (h *lease) readMarks(ctx context.Context, version string) error {
	p := h.part
	reply, err := p.member.log.do(ctx, nodes.Command{Slot: p.slot, Args: []string{"HGETALL", p.keys.deferred}, Repeatable: true})
	if err != nil {
		return err
	}
	fields, err := reply.AsStrMap()
	if err != nil {
		return fmt.Errorf("what is deferred: %w", err)
	}
	before := h.marked
	h.marked = make(map[uint64]markedLetter)
	for field, value := range fields {
		if field[0] == 'm' && value != "" && value[0] == 'r' {
			id := number(field[1:])
			h.marked[id] = before[id]
		}
	}
	for id := range h.given { // purged, or given up: if it is marked again it is to be given again
		if _, marked := h.marked[id]; !marked {
			delete(h.given, id)
		}
	}
	for ref := range h.deferred {
		if _, marked := h.marked[ref.Letter]; ref.Letter != 0 && !marked {
			delete(h.deferred, ref)
		}
	}
	h.version = version
	m := p.member
	m.mu.Lock()
	h.replays = version
	m.mu.Unlock()
	return nil
}

// fetchReplays gives letters that are marked for replay, each once under a lease. They get half of
// the room, at most, so that new events come too.
func (h *lease) fetchReplays(ctx context.Context, all *budget) (entries []transport.Entry, err error) {
	half := budget{events: (all.events + 1) / 2, bytes: all.bytes / 2}
	for _, id := range slices.Sorted(maps.Keys(h.marked)) {
		if _, given := h.given[id]; given {
			continue
		}
		have, err := h.letterByID(ctx, id)
		if err != nil {
			return nil, err
		}
		if have == nil {
			continue
		}
		if _, deferred := h.deferred[transport.EventRef{Offset: have.Offset, Letter: id}]; deferred {
			continue
		}
		if !half.take(have.Envelope) {
			all.full = true
			break
		}
		all.take(have.Envelope)
		h.given[id] = struct{}{}
		entries = append(entries, transport.Entry{Offset: have.Offset, Letter: id, At: have.At, Envelope: have.Envelope})
	}
	return entries, nil
}

// Load reads deferred events.
func (m *member) Load(ctx context.Context, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error) {
	h, err := m.enter(ctx, l)
	if err != nil {
		return nil, err
	}
	defer h.exit()
	var entries []transport.Entry
	for _, ref := range refs {
		d, deferred := h.deferred[ref]
		if !deferred {
			continue
		}
		e, err := h.load(ctx, ref, d.id)
		if err != nil {
			return nil, fmt.Errorf("redis: load from partition %d of topic %q: %w", l.Partition, m.config.Topic, err)
		}
		if e != nil {
			entries = append(entries, *e)
			h.loaded[ref] = struct{}{}
		}
	}
	return entries, nil
}

// load reads a deferred event; nil: it was trimmed, or purged.
func (h *lease) load(ctx context.Context, ref transport.EventRef, id string) (*transport.Entry, error) {
	if ref.Letter != 0 {
		have, err := h.letterByID(ctx, ref.Letter)
		if err != nil || have == nil {
			return nil, err
		}
		return &transport.Entry{Offset: have.Offset, Letter: ref.Letter, At: have.At, Envelope: have.Envelope}, nil
	}
	if id != "" {
		reply, err := h.part.member.log.do(ctx, nodes.Command{Slot: h.part.slot, Args: []string{"XRANGE", h.part.log, id, id}, Repeatable: true})
		if err != nil {
			return nil, err
		}
		entries, err := reply.AsXRange()
		if err != nil || len(entries) == 0 {
			return nil, ignoreNil(err)
		}
		return &transport.Entry{Offset: ref.Offset, At: takenAt(id), Envelope: decodeEvent(h.part.topic.placement, h.part.number, entries[0].FieldValues["e"])}, nil
	}
	read, err := h.read1(ctx, ref.Offset-1, 1, 1)
	if err != nil || len(read.entries) == 0 || read.entries[0].offset != ref.Offset {
		return nil, err
	}
	e := read.entries[0]
	return &transport.Entry{Offset: e.offset, At: takenAt(e.id), Envelope: decodeEvent(h.part.topic.placement, h.part.number, e.event)}, nil
}

// accountTimeout bounds what accounting for trims asks of servers.
const accountTimeout = 5 * time.Second

// accountTrims settles what was trimmed before its holder got it, and tells that.
func (l *Log) accountTrims(h *lease) {
	ctx, cancel := context.WithTimeout(l.nodes.Life(), accountTimeout)
	defer cancel()
	m := h.part.member
	again := func() {
		m.mu.Lock()
		h.accounted = 0 // the next look begins anew
		m.mu.Unlock()
	}
	select {
	case h.using <- struct{}{}:
	case <-ctx.Done():
		again()
		return
	}
	defer h.exit()
	m.mu.Lock()
	over, first := h.over || m.closed, h.first
	m.mu.Unlock()
	if over {
		return
	}
	gaps, err := h.account(ctx, first)
	if err != nil {
		again()
		m.complain(ctx, "trimmed events could not be accounted for; it is tried again", err)
	}
	h.tell(gaps)
}

// tell tells of gaps, and that there may be more to fetch behind them.
func (h *lease) tell(gaps []transport.Gap) {
	if gaps == nil {
		return
	}
	m := h.part.member
	for _, g := range gaps {
		m.queue.Gap(g)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !h.over && h.part.held == h {
		h.caughtUp = false
		m.queue.Wake(h.Lease)
	}
}

// account settles what was trimmed below first and not fetched, and returns what is to be told of it.
func (h *lease) account(ctx context.Context, first uint64) ([]transport.Gap, error) {
	if first <= h.trimmedTo {
		return nil, nil
	}
	m := h.part.member
	m.mu.Lock()
	fetchedTo := h.fetchedTo
	m.mu.Unlock()
	var gaps []transport.Gap
	c := change{acks: h.acks.Clone()}
	if from, to, count := c.acks.Trim(first, func(offset uint64) bool { return offset <= fetchedTo }); count > 0 {
		gaps = append(gaps, h.part.gap(from, to, count))
	}
	for _, ref := range slices.SortedFunc(maps.Keys(h.deferred), compareRefs) {
		if _, loaded := h.loaded[ref]; ref.Letter == 0 && ref.Offset < first && !loaded {
			gaps = append(gaps, h.part.gap(ref.Offset, ref.Offset, 1))
			c.drop(ref)
		}
	}
	if gaps != nil || c.acks.Low() > h.acks.Low() {
		if err := h.apply(ctx, c); err != nil {
			return nil, err
		}
	}
	h.trimmedTo = first
	return gaps, nil
}

func (p *partition) gap(from, to, count uint64) transport.Gap {
	return transport.Gap{
		Topic: p.topic.placement.Topic, Partition: p.number, From: from, To: to, Count: count, Since: time.Now(), Reason: transport.Trimmed,
	}
}
