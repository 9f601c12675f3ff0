package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/share"
)

// revokeTimeout is how long the holder of a lease has to give it back.
const revokeTimeout = 10 * time.Second

// lease is one that lives, or was lost and the sink does not know yet.
type lease struct {
	transport.Lease
	member    *logMember
	fetched   uint64                          // the last offset that its holder has looked at
	caughtUp  bool                            // its holder has seen that there is nothing more
	given     map[uint64]struct{}             // letters that were given for replay
	loaded    map[transport.EventRef]struct{} // deferred events that were loaded
	revokedBy time.Time                       // not zero: it was revoked, and is lost then
	lost      bool
}

func (held *lease) wake() {
	if held.lost { // or released, and the sink is being told
		return
	}
	held.caughtUp = false
	held.member.queue.Wake(held.Lease)
}

// active are the members that may be assigned leases.
func (c *consumer) active() []*logMember {
	if c.exclusive && len(c.members) > 0 {
		// One at a time: the first, and when it leaves the next, once it holds nothing.
		for _, m := range c.members {
			if !m.leaving {
				return []*logMember{m}
			}
			if c.holds(m) {
				return nil
			}
		}
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.members), func(m *logMember) bool { return m.leaving })
}

func (c *consumer) holds(m *logMember) bool {
	return slices.ContainsFunc(c.parts, func(part *consumerPart) bool {
		return slices.ContainsFunc(part.leases, func(held *lease) bool { return held.member == m })
	})
}

// inRanges reports whether members share partitions.
func (c *consumer) inRanges() bool { return !c.keyed && !c.exclusive && len(c.active()) > 1 }

// balanceLocked assigns what is free, and asks back what is to move.
func (c *consumer) balanceLocked() {
	members := c.active()
	if len(members) == 0 {
		return
	}
	if c.inRanges() {
		for _, part := range c.parts {
			c.balanceRanges(part, members)
		}
		return
	}
	owners := make([]int, len(c.parts))
	for i, part := range c.parts {
		owners[i] = share.Free
		for _, held := range part.leases {
			owners[i] = slices.Index(members, held.member)
			if !held.Whole() {
				c.revoke(held)
			}
			if owners[i] < 0 || held.lost || !held.revokedBy.IsZero() {
				owners[i] = share.Pending
			}
		}
	}
	moves, back := share.Plan(len(members), owners)
	for _, move := range moves {
		c.assign(c.parts[move.Partition], members[move.Member], 0, 0)
	}
	for _, partition := range back {
		c.revoke(c.parts[partition].leases[0])
	}
}

// assign gives a member a lease.
func (c *consumer) assign(part *consumerPart, m *logMember, from, to uint64) {
	part.fence++
	held := &lease{
		Lease:  transport.Lease{Partition: part.partition.number, Fence: part.fence, Token: c.topic.incarnation, From: from, To: to},
		member: m, caughtUp: true, given: make(map[uint64]struct{}), loaded: make(map[transport.EventRef]struct{}),
	}
	first := !slices.ContainsFunc(part.leases, func(other *lease) bool { return !other.lost })
	part.leases = append(part.leases, held)
	var gaps []transport.Gap
	if first { // what was trimmed while nobody held any of it
		gaps = c.trimmed(part)
	}
	m.queue.Assign(held.Lease, c.leaseState(part, held))
	for _, g := range gaps {
		m.queue.Gap(g)
	}
}

// leaseState is where the holder of a lease begins.
func (c *consumer) leaseState(part *consumerPart, held *lease) transport.LeaseState {
	st := transport.LeaseState{
		Incarnation: c.topic.incarnation, Low: part.acks.Low(), Next: part.partition.next(), Acked: part.acks.Acked(), Window: part.acks.Window(),
	}
	for _, d := range part.deferred {
		if held.Covers(d.Offset) {
			st.Deferred = append(st.Deferred, d)
		}
	}
	slices.SortFunc(st.Deferred, func(a, b transport.Deferral) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Letter, b.Letter))
	})
	for offset := range part.suspects {
		if held.Covers(offset) && !part.acks.Settled(offset) {
			st.Suspects = append(st.Suspects, offset)
		}
	}
	slices.Sort(st.Suspects)
	return st
}

// revoke asks a lease back, unless it was.
func (c *consumer) revoke(held *lease) {
	if held.lost || !held.revokedBy.IsZero() {
		return
	}
	held.revokedBy = time.Now().Add(revokeTimeout)
	held.member.queue.Revoke(held.Lease, revokeTimeout)
	c.store.notifyLocked()
}

// revokedBy is when the next lease is lost that was revoked; zero: none was.
func (c *consumer) revokedBy() (next time.Time) {
	for _, part := range c.parts {
		for _, held := range part.leases {
			if by := held.revokedBy; !held.lost && !by.IsZero() && (next.IsZero() || by.Before(next)) {
				next = by
			}
		}
	}
	return next
}

// expireLocked ends leases that were revoked and not given back.
func (c *consumer) expireLocked(now time.Time) {
	for _, part := range c.parts {
		for _, held := range slices.Clone(part.leases) {
			if by := held.revokedBy; !held.lost && !by.IsZero() && !now.Before(by) {
				c.lose(part, held, transport.ErrFenced)
			}
		}
	}
}

// lose ends a lease. Its offsets are free when the sink knows.
func (c *consumer) lose(part *consumerPart, held *lease, err error) {
	held.lost = true
	part.suspect(held)
	held.member.queue.Lost(held.Lease, err, func() {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		part.drop(held)
		c.balanceLocked()
	})
}

// suspect notes what may have been started under a lease.
func (part *consumerPart) suspect(held *lease) {
	for offset := part.acks.Low(); offset < min(part.acks.End(), part.partition.next()); offset++ {
		if held.Covers(offset) && !part.acks.Settled(offset) {
			part.suspects[offset] = struct{}{}
		}
	}
}

// unfinished reports whether the holder of a range has left something in it: who only gives back what it
// is done with is to get more.
func (part *consumerPart) unfinished(held *lease) bool {
	if part.acks.First(held.From) < held.To || held.fetched+1 < held.To {
		return true
	}
	for ref := range part.deferred {
		if held.Covers(ref.Offset) {
			return true
		}
	}
	return false
}

func (part *consumerPart) drop(held *lease) {
	part.leases = slices.DeleteFunc(part.leases, func(l *lease) bool { return l == held })
}

// Release gives a lease back.
func (m *logMember) Release(ctx context.Context, l transport.Lease) error {
	part, held, err := m.enter(ctx, l)
	if err != nil {
		return err
	}
	held.lost = true // so nothing is done under it any more
	for offset := range part.suspects {
		if held.Covers(offset) {
			delete(part.suspects, offset)
		}
	}
	if held.revokedBy.IsZero() && (held.Whole() || part.unfinished(held)) {
		m.leaving = true
	}
	m.log.store.mu.Unlock()
	m.queue.Release(l)
	m.log.store.mu.Lock()
	defer m.log.store.mu.Unlock()
	part.drop(held)
	m.consumer.balanceLocked()
	return nil
}

// Close leaves the consumer.
func (m *logMember) Close(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.leave()
	return nil
}

// leave ends a membership, as if the member's process had died.
func (m *logMember) leave() {
	c, s := m.consumer, m.log.store
	s.mu.Lock()
	if m.closed {
		s.mu.Unlock()
		return
	}
	m.closed, m.leaving = true, true
	for _, part := range c.parts {
		for _, held := range part.leases {
			if held.member == m && !held.lost {
				held.lost = true
				part.suspect(held)
			}
		}
	}
	s.mu.Unlock()
	m.queue.End()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.members = slices.DeleteFunc(c.members, func(other *logMember) bool { return other == m })
	for _, part := range c.parts {
		part.leases = slices.DeleteFunc(part.leases, func(held *lease) bool { return held.member == m })
	}
	c.balanceLocked()
}
