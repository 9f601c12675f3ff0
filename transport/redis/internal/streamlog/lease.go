package streamlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/ackset"
	"github.com/shardbus/shardbus/transport/internal/share"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// revokeTimeout is how long the holder of a lease has to give it back.
const revokeTimeout = 10 * time.Second

// lease is one that this member holds.
type lease struct {
	transport.Lease
	part        *consumerPart
	incarnation string // of the partition

	// part.member.mu guards what follows.
	over      bool      // it has ended, and the sink may not know yet
	releasing bool      // the server is told, and what it says of the lease means nothing
	renewedAt time.Time // when the last renewal was sent that succeeded
	revokedBy time.Time // not zero: it was revoked, and is lost then
	next      uint64    // of the partition, as it was seen last
	first     uint64    // likewise
	replays   string    // likewise, the version of what is marked for replay
	accounted uint64    // the value of first whose trims were accounted for, or are being
	fetchedTo uint64    // the last offset that its holder has looked at
	caughtUp  bool      // its holder has seen that there is nothing more

	// using is taken by who uses what follows: one call at a time. Its capacity is one.
	using    chan struct{}
	acks     *ackset.Set
	stale    bool // acks and deferred may not be what the server has
	deferred map[transport.EventRef]deferral
	ids      map[uint64]string       // of entries that were fetched and are not settled
	marked   map[uint64]markedLetter // letters that are marked for replay
	version  string                  // of marked
	given    map[uint64]struct{}
	loaded   map[transport.EventRef]struct{}
	letterID uint64 // the last one that was given to a letter
	// trimmedTo: what was trimmed below it is accounted for.
	trimmedTo uint64
	lastID    string // of the entry at lastAt
	lastAt    uint64
	// seenTo is the last offset that was read, of the event seenID: a server that does not have it has
	// lost it.
	seenTo uint64
	seenID string
	// commits is the number of the last commit.
	commits uint64
}

// deferral is one with the ID of its entry, if that is known.
type deferral struct {
	transport.Deferral
	id string
}

// saw takes in what meta says of the partition: n, first, due, lease, replays.
func (p *consumerPart) saw(fields []string) {
	m := p.member
	m.mu.Lock()
	defer m.mu.Unlock()
	p.record = fields[3]
	p.watch.see(p.record, time.Now())
	h := p.held
	if h == nil || h.over || h.releasing {
		return
	}
	if token, state := leaseWords(p.record); token != h.Token || state != "h" {
		p.loseLocked(h, lostError(state))
		return
	}
	next, first := number(fields[0])+1, number(fields[1])
	version := cmp.Or(fields[4], "0")
	wake := h.caughtUp && next > h.next || version != h.replays
	h.next, h.first, h.replays = max(h.next, next), max(h.first, first), version
	if wake {
		h.caughtUp = false
		m.queue.Wake(h.Lease)
	}
	if h.first > h.accounted {
		h.accounted = h.first
		m.log.serving.Go(func() { m.log.accountTrims(h) }) // Serve runs, which Close waits for with it
	}
}

// sawNext takes in that the partition's next event gets this offset.
func (p *consumerPart) sawNext(next uint64) {
	m := p.member
	m.mu.Lock()
	defer m.mu.Unlock()
	h := p.held
	if h == nil || h.over || next <= h.next {
		return
	}
	h.next = next
	if h.caughtUp {
		h.caughtUp = false
		m.queue.Wake(h.Lease)
	}
}

// leaseWords are the token and the state of a lease's record.
func leaseWords(record string) (token, state string) {
	words := strings.SplitN(record, " ", 5)
	if len(words) != 5 {
		return "", ""
	}
	return words[1], words[2]
}

// leaseOwner is the name in a lease's record; empty if nobody holds it.
func leaseOwner(record string) (name string, fence uint64) {
	words := strings.SplitN(record, " ", 5)
	if len(words) != 5 {
		return "", 0
	}
	if words[2] == "h" {
		name = words[4]
	}
	return name, number(words[0])
}

func lostError(state string) error {
	if state == "s" {
		return transport.ErrSought
	}
	return transport.ErrFenced
}

// loseLocked ends a lease of this member.
func (p *consumerPart) loseLocked(h *lease, err error) {
	if h.over {
		return
	}
	h.over = true
	p.member.queue.Lost(h.Lease, err, func() {
		p.member.mu.Lock()
		if p.held == h {
			p.held = nil
		}
		p.member.mu.Unlock()
		p.member.log.look(p.topic)
	})
}

// balance takes what is this member's, and asks back what is to move.
func (m *member) balance(ctx context.Context) {
	m.mu.Lock()
	if m.closed || m.leaving {
		m.mu.Unlock()
		return
	}
	members := m.activeLocked()
	me := slices.Index(members, m.id)
	owners := make([]int, len(m.parts))
	for i, p := range m.parts {
		owners[i] = p.ownerLocked(members, m.log.cfg.Lease)
	}
	moves, back := share.Plan(len(members), owners)
	var take []*consumerPart
	for _, move := range moves {
		if p := m.parts[move.Partition]; move.Member == me && p.held == nil && !p.taking {
			p.taking = true
			take = append(take, p)
		}
	}
	for _, i := range back {
		if owners[i] == me {
			m.parts[i].revokeLocked()
		}
	}
	now := time.Now()
	for _, p := range m.parts {
		h := p.held
		if h == nil || h.over {
			continue
		}
		if me < 0 { // another one is to have it
			p.revokeLocked()
		}
		if !h.revokedBy.IsZero() && !now.Before(h.revokedBy) {
			p.loseLocked(h, transport.ErrFenced)
			m.endLater(h)
		}
	}
	m.mu.Unlock()
	m.take(ctx, take)
}

// ownerLocked is which of the members holds a partition.
func (p *consumerPart) ownerLocked(members []string, lease time.Duration) int {
	if h := p.held; h != nil && (h.over || !h.revokedBy.IsZero()) || p.taking {
		return share.Pending
	}
	token, state := leaseWords(p.record)
	id, _, _ := strings.Cut(token, ".")
	switch {
	case p.held != nil:
	case state != "h":
		return share.Free
	case id == p.member.id:
		return share.Free // the answer to a take was lost, or it was given up
	case !p.watch.since.IsZero() && time.Since(p.watch.since) > lease:
		return share.Free // nobody renews it
	}
	if i := slices.Index(members, id); i >= 0 {
		return i
	}
	return share.Pending
}

func (p *consumerPart) revokeLocked() {
	h := p.held
	if h == nil || h.over || !h.revokedBy.IsZero() {
		return
	}
	h.revokedBy = time.Now().Add(revokeTimeout)
	p.member.queue.Revoke(h.Lease, revokeTimeout)
}

// endLater tells the server that a lease is over which its holder did not give back.
func (m *member) endLater(h *lease) {
	m.log.serving.Go(func() { // Serve runs, which Close waits for with it
		ctx, cancel := context.WithTimeout(m.log.nodes.Life(), leaveTimeout)
		defer cancel()
		if _, err := m.log.do(ctx, h.endCommand("x")); err != nil {
			m.complain(ctx, "a lease could not be ended; it ends by itself", err)
		}
		m.log.look(m.topic)
	})
}

// endCommand ends a lease: "r" in order, "x" with events under way.
func (h *lease) endCommand(state string) nodes.Command {
	p := h.part
	return nodes.Command{Slot: p.slot, Script: scripts.Renew, Keys: []string{p.meta}, Args: []string{p.keys.lease, h.Token, state, p.channel}, Repeatable: true}
}

// renew says that this member's leases live, and ends those that may have expired.
func (m *member) renew(ctx context.Context) {
	now, every := time.Now(), m.log.cfg.Lease/3
	var due []*lease
	m.mu.Lock()
	for _, p := range m.parts {
		h := p.held
		switch {
		case h == nil || h.over || h.releasing:
		case now.Sub(h.renewedAt) > m.log.cfg.Lease*9/10:
			p.loseLocked(h, fmt.Errorf("redis: the lease could not be renewed: %w", transport.ErrFenced))
		case now.Sub(h.renewedAt) >= every:
			due = append(due, h)
		}
	}
	m.mu.Unlock()
	cmds := make([]nodes.Command, len(due))
	for i, h := range due {
		cmds[i] = h.endCommand("h")
	}
	ctx, cancel := m.log.briefly(ctx)
	defer cancel()
	for i, r := range m.log.nodes.Each(ctx, cmds) {
		words, err := texts(r.Message, r.Err)
		m.mu.Lock()
		switch h := due[i]; {
		case err != nil:
		case words[0] == "OK":
			h.renewedAt = now
		case !h.releasing:
			_, state := leaseWords(words[1])
			h.part.loseLocked(h, lostError(state))
		}
		m.mu.Unlock()
		if err != nil {
			m.complain(ctx, "a lease could not be renewed", err)
		}
	}
}

// enter begins a call under a lease: the caller has it for itself until exit.
func (m *member) enter(ctx context.Context, l transport.Lease) (*lease, error) {
	if err := m.log.enter(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	var h *lease
	if l.Partition >= 0 && l.Partition < len(m.parts) && !m.closed {
		if held := m.parts[l.Partition].held; held != nil && held.Lease == l && !held.over {
			h = held
		}
	}
	m.mu.Unlock()
	if h == nil {
		return nil, m.fenced(l)
	}
	select {
	case h.using <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	over := h.over || m.closed
	m.mu.Unlock()
	if over {
		h.exit()
		return nil, m.fenced(l)
	}
	return h, nil
}

func (h *lease) exit() { <-h.using }

func (m *member) fenced(l transport.Lease) error {
	return fmt.Errorf("redis: %w: consumer %q, partition %d of topic %q, fence %d", transport.ErrFenced, m.config.Name, l.Partition, m.config.Topic, l.Fence)
}

// refused is what a script said: that the lease is another's.
func (h *lease) refused(record string) error {
	m := h.part.member
	_, state := leaseWords(record)
	m.mu.Lock()
	h.part.loseLocked(h, lostError(state))
	m.mu.Unlock()
	return m.fenced(h.Lease)
}

// diverged is what a script said: that events which this holder has read are no more, or others by now.
// The lease begins anew, with what the server has.
func (h *lease) diverged(last uint64) error {
	m := h.part.member
	err := fmt.Errorf("redis: a fail-over lost events: the last is %d, and %d was read: %w", last, h.seenTo, transport.ErrFenced)
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.over {
		return err
	}
	h.part.loseLocked(h, err)
	if last < h.seenTo {
		g := h.part.gap(last+1, h.seenTo, h.seenTo-last)
		g.Reason = transport.Diverged
		m.queue.Gap(g)
	}
	return err
}

// Release gives a lease back.
func (m *member) Release(ctx context.Context, l transport.Lease) error {
	h, err := m.enter(ctx, l)
	if err != nil {
		return err
	}
	defer h.exit()
	m.mu.Lock()
	h.releasing = true
	m.mu.Unlock()
	words, err := texts(m.log.do(ctx, h.endCommand("r")))
	if err != nil || words[0] != "OK" {
		m.mu.Lock()
		h.releasing = false
		m.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("redis: release partition %d of topic %q: %w", l.Partition, m.config.Topic, err)
	}
	if words[0] != "OK" {
		return h.refused(words[1])
	}
	m.mu.Lock()
	h.over = true
	leaving := h.revokedBy.IsZero() && !m.leaving
	m.leaving = m.leaving || leaving
	m.mu.Unlock()
	m.queue.Release(l)
	m.mu.Lock()
	if h.part.held == h {
		h.part.held = nil
	}
	m.mu.Unlock()
	if leaving {
		if _, err := m.log.do(ctx, m.membersCommand("leave")); err != nil {
			m.complain(ctx, "a membership could not be ended; it ends by itself", err)
		}
	}
	m.log.look(m.topic)
	return nil
}
