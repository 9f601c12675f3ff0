package streamlog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// take takes leases.
func (m *member) take(ctx context.Context, parts []*consumerPart) {
	cmds := make([]nodes.Command, len(parts))
	tokens := make([]string, len(parts))
	sent := time.Now()
	for i, p := range parts {
		tokens[i] = m.id + "." + newToken()
		m.mu.Lock()
		record := p.record
		m.mu.Unlock()
		cmds[i] = nodes.Command{
			Slot: p.slot, Script: scripts.Take, Keys: []string{p.meta, p.log, p.keys.deferred},
			Args: []string{p.keys.lease, p.keys.acks, record, tokens[i], m.config.Member, p.keys.replays, p.keys.lastLetter},
		}
	}
	ctx, cancel := m.log.briefly(ctx)
	defer cancel()
	for i, r := range m.log.nodes.Each(ctx, cmds) {
		p := parts[i]
		h, unclean, err := p.taken(r, tokens[i])
		var gaps []transport.Gap
		var st transport.LeaseState
		if h != nil { // what was trimmed while nobody held it
			if gaps, err = h.account(ctx, h.first); err == nil {
				st = h.state(unclean)
			}
		}
		m.mu.Lock()
		p.taking = false
		if err == nil && h != nil && !m.closed {
			h.renewedAt = sent
			p.held = h
			p.record = "" // until it is seen
			p.watch = sighting{}
			m.queue.Assign(h.Lease, st)
			for _, g := range gaps {
				m.queue.Gap(g)
			}
			h = nil
		}
		m.mu.Unlock()
		if err != nil {
			m.complain(ctx, "a lease could not be taken; it is tried again", err)
		}
		if h != nil { // the member has left meanwhile, or it failed
			state := "r"
			if unclean {
				state = "x"
			}
			if _, err := m.log.do(ctx, h.endCommand(state)); err != nil {
				m.complain(ctx, "a lease could not be given back; it ends by itself", err)
			}
		}
	}
}

// taken reads the answer to a take; nil if another one holds it. unclean: events may be under way
// that were started under the lease before.
func (p *consumerPart) taken(r nodes.Result, token string) (h *lease, unclean bool, err error) {
	if r.Err != nil {
		return nil, false, r.Err
	}
	list, err := r.Message.ToArray()
	if err != nil || len(list) == 0 {
		return nil, false, fmt.Errorf("redis: a reply of the take script: %w", err)
	}
	switch what := text(&list[0]); {
	case what == "HELD":
		p.member.mu.Lock()
		defer p.member.mu.Unlock()
		p.record = text(&list[1])
		p.watch.see(p.record, time.Now())
		return nil, false, nil
	case what != "TAKEN" || len(list) < 10:
		return nil, false, fmt.Errorf("redis: %w: %s", transport.ErrNoSuchConsumer, what)
	}
	h = &lease{
		Lease: transport.Lease{Partition: p.number, Fence: number(text(&list[1])), Token: token}, part: p, using: make(chan struct{}, 1),
		given: make(map[uint64]struct{}), loaded: make(map[transport.EventRef]struct{}), ids: make(map[uint64]string), caughtUp: true,
	}
	if h.acks, err = decodeAcks(text(&list[3])); err != nil {
		return nil, false, err
	}
	h.next, h.first, h.replays, h.incarnation = number(text(&list[4]))+1, number(text(&list[5])), text(&list[7]), text(&list[6])
	h.accounted, h.letterID = h.first, number(text(&list[9]))
	if err := h.read(list[8]); err != nil {
		return nil, false, err
	}
	return h, text(&list[2]) == "1", nil
}

// state is where the holder begins.
func (h *lease) state(unclean bool) transport.LeaseState {
	st := transport.LeaseState{Incarnation: h.incarnation, Low: h.acks.Low(), Next: h.next, Acked: h.acks.Acked(), Window: h.acks.Window()}
	for _, ref := range slices.SortedFunc(maps.Keys(h.deferred), compareRefs) {
		st.Deferred = append(st.Deferred, h.deferred[ref].Deferral)
	}
	if unclean {
		for offset := h.acks.Low(); offset < min(h.acks.End(), h.next); offset++ {
			if !h.acks.Settled(offset) {
				st.Suspects = append(st.Suspects, offset)
			}
		}
	}
	return st
}

func compareRefs(a, b transport.EventRef) int {
	return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Letter, b.Letter))
}

// read takes in the hash of what is deferred, and which letters are marked.
func (h *lease) read(reply rueidis.RedisMessage) error {
	h.deferred, h.marked, h.version = make(map[transport.EventRef]deferral), make(map[uint64]markedLetter), h.replays
	fields, err := reply.AsStrMap()
	if err != nil {
		return fmt.Errorf("redis: what is deferred can't be read: %w", err)
	}
	for field, value := range fields {
		switch field[0] {
		case 'x':
			if ref, ok := parseRef(field[1:]); ok {
				d, id := decodeDeferral(ref, value)
				h.deferred[ref] = deferral{d, id}
			}
		case 'm':
			if value != "" && value[0] == 'r' {
				h.marked[number(field[1:])] = markedLetter{}
			}
		}
	}
	return nil
}
