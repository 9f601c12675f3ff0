package keyshare

import "slices"

// reassignment is slots that have another owner now, and what the old one still had then: its lanes,
// each with the number of the last event that had entered it. Who owns a slot now starts no event of
// a key in it before the old owner has done with that key. There is no circle of such waits: each is
// for what entered before it, also where a key comes back to a member before it is done elsewhere.
type reassignment struct {
	from   Member
	slots  [Slots]bool
	filled []uint64 // by lane of from: how many events had entered it
	epoch  int      // that it began
	// before is how many events had entered the lanes of those who are members from then on: those
	// events don't wait for it.
	before map[Lane]uint64
}

func newReassignment(from Member) *reassignment {
	r := &reassignment{from: from, filled: make([]uint64, from.LaneCount())}
	for i := range r.filled {
		if l := from.Lane(i); l != nil {
			r.filled[i] = l.Entered()
		}
	}
	return r
}

// over reports whether the old owner has done with all it had.
func (r *reassignment) over() bool {
	for i, n := range r.filled {
		if l := r.from.Lane(i); l != nil && !l.Done(n) {
			return false
		}
	}
	return true
}

// holds reports whether the old owner has not done with a key.
func (r *reassignment) holds(key string, hash uint64) bool {
	i := LaneOf(hash, len(r.filled))
	l := r.from.Lane(i)
	return l != nil && !l.DoneWith(key, r.filled[i])
}

// began keeps the reassignments of the present epoch that are not over already.
func (g *Group) began(moved map[Member]*reassignment) {
	before := make(map[Lane]uint64)
	for _, m := range g.members {
		for i := range m.LaneCount() {
			if l := m.Lane(i); l != nil {
				before[l] = l.Entered()
			}
		}
	}
	for _, r := range moved {
		if r.epoch, r.before = g.epoch, before; !r.over() {
			g.reassignments = append(g.reassignments, r)
		}
	}
	g.pending.Store(int32(len(g.reassignments)))
}

// forgetOver forgets the reassignments that are over.
func (g *Group) forgetOver() {
	g.reassignments = slices.DeleteFunc(g.reassignments, (*reassignment).over)
	g.pending.Store(int32(len(g.reassignments)))
}

// MustWait reports whether another member has not done with key, as far as that matters to event n of
// lane l of m, which is a member or was one. An event without a key never waits.
func (g *Group) MustWait(m Member, l Lane, key string, hash, n uint64) bool {
	if key == "" {
		return false
	}
	g.forgetOver()
	left, hasLeft := g.left[m]
	return slices.ContainsFunc(g.reassignments, func(r *reassignment) bool {
		switch {
		case r.from == m, !r.slots[SlotOf(hash)]:
			return false
		case n <= r.before[l], hasLeft && r.epoch >= left: // it came after the event
			return false
		default:
			return r.holds(key, hash)
		}
	})
}

// Epoch is the number of the present epoch, which began when the members changed last. It is not 0
// once there was a member.
func (g *Group) Epoch() int { return g.epoch }

// MustWaitSince is MustWait for an event that another member gave back, and that m was given in an
// epoch, as it stands for no number of the events that enter m's lanes.
func (g *Group) MustWaitSince(m Member, key string, hash uint64, epoch int) bool {
	if key == "" {
		return false
	}
	g.forgetOver()
	return slices.ContainsFunc(g.reassignments, func(r *reassignment) bool {
		return r.from != m && r.slots[SlotOf(hash)] && r.epoch <= epoch && r.holds(key, hash)
	})
}
