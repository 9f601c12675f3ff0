package memory

import (
	"slices"
)

// Bounds of the ranges of members that share a partition.
const (
	maxRange  = 64 // offsets
	maxRanges = 2  // that a member has of a partition and that are not settled
)

// balanceRanges gives the members of a consumer ranges of a partition.
func (c *consumer) balanceRanges(part *consumerPart, members []*logMember) {
	for _, held := range part.leases {
		if held.Whole() {
			c.revoke(held)
			return // when it is free
		}
	}
	for {
		m := part.neediest(members)
		if m == nil {
			return
		}
		from, to := c.nextRange(part)
		if from == 0 {
			return
		}
		c.assign(part, m, from, to)
	}
}

// neediest is the member that has the fewest ranges, if it may have one more.
func (part *consumerPart) neediest(members []*logMember) (found *logMember) {
	fewest := maxRanges
	for _, m := range members {
		n := 0
		for _, held := range part.leases {
			if held.member == m && part.acks.First(held.From) < held.To {
				n++
			}
		}
		if n < fewest {
			found, fewest = m, n
		}
	}
	return found
}

// nextRange is the first range with work in it that nobody holds: events that are not settled, or
// deferred, or letters to replay. 0, 0: there is none.
func (c *consumer) nextRange(part *consumerPart) (from, to uint64) {
	found := func(offset uint64) {
		if (from == 0 || offset < from) && !part.covered(offset) {
			from = offset
		}
	}
	end := min(part.acks.End(), part.partition.next())
	for offset := part.acks.First(0); offset < end && from == 0; offset = part.acks.First(offset + 1) {
		found(offset)
	}
	for ref := range part.deferred {
		found(ref.Offset)
	}
	for offset := range c.letters.replays(part.partition.number) {
		found(offset)
	}
	if from == 0 {
		return 0, 0
	}
	to = max(from+1, min(from+maxRange, end))
	for _, held := range part.leases {
		if held.From > from {
			to = min(to, held.From)
		}
	}
	return from, to
}

// covered reports whether somebody holds an offset.
func (part *consumerPart) covered(offset uint64) bool {
	return slices.ContainsFunc(part.leases, func(held *lease) bool { return held.Covers(offset) })
}

// wakeFor wakes the holder of an offset, where there is one.
func (part *consumerPart) wakeFor(offset uint64) {
	for _, held := range part.leases {
		if !held.lost && held.Covers(offset) {
			held.wake()
		}
	}
}
