package keyshare

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// Slots is how many parts the keys of a group are divided into. Each belongs to one member.
const Slots = 1024

// SlotOf is the slot of a key, by other bits of its hash than those that choose the lane.
func SlotOf(hash uint64) int { return int(hash >> 40 % Slots) }

// LaneOf is the number of a key's lane, of that many lanes.
func LaneOf(hash uint64, lanes int) int {
	i, _ := bits.Mul64(hash, uint64(lanes)) // by its highest bits
	return int(i)
}

// Member has lanes. It is comparable: a pointer.
type Member interface {
	// LaneCount is how many lanes it has, made or not.
	LaneCount() int
	// Lane is lane i; nil if it was not made yet.
	Lane(i int) Lane
}

// Lane is a queue of events. The number of an event is how many had entered the lane with it. It is
// comparable: a pointer.
type Lane interface {
	// Entered is how many events ever entered, in the order in which they leave.
	Entered() uint64
	// Done reports whether none of the first n events waits or runs, and nothing is deferred.
	Done(n uint64) bool
	// DoneWith reports whether none of the first n events waits or runs, and none of them that has
	// this key is deferred.
	DoneWith(key string, n uint64) bool
}

// Group is the members and which slots they own. The zero value has no members. It is not safe for
// concurrent use, but for Moving.
type Group struct {
	members []Member
	owners  [Slots]uint32 // of each slot the index of its owner in members
	// last is, while there are no members, the one who left last: it owns all slots, so that whoever
	// joins next knows from whom they come.
	last Member
	// left is, of each member that has left and not ended, the epoch that began as it left.
	left  map[Member]int
	epoch int // how often the members changed

	reassignments []*reassignment // those that may not be over
	pending       atomic.Int32    // their number
}

// Members is the present members. The caller must not change it.
func (g *Group) Members() []Member { return g.members }

// Owner is the member that owns the slot of a key hash. There must be members.
func (g *Group) Owner(hash uint64) Member { return g.members[g.owners[SlotOf(hash)]] }

// Moving reports whether any key may have to wait for another member. It is for any goroutine.
func (g *Group) Moving() bool { return g.pending.Load() > 0 }

// Join adds a member and gives it its share of the slots, taken from those who have most.
func (g *Group) Join(m Member) {
	before := g.ownerOfSlots()
	g.members = append(g.members, m)
	g.last = nil
	g.share(before)
}

// Leave takes a member out and gives its slots to those who have fewest. It reports whether it was
// a member.
func (g *Group) Leave(m Member) bool {
	i := slices.Index(g.members, m)
	if i < 0 {
		return false
	}
	before := g.ownerOfSlots()
	last := len(g.members) - 1
	g.members[i], g.members[last] = g.members[last], nil
	g.members = g.members[:last]
	if g.left == nil {
		g.left = make(map[Member]int)
	}
	g.left[m] = g.epoch + 1
	if last == 0 {
		g.last = m
	}
	g.share(before)
	return true
}

// Replace puts m, which is no member, in the place of a member that leaves: all slots of that are m's
// from now on. It reports whether old was a member.
func (g *Group) Replace(old, m Member) bool {
	i := slices.Index(g.members, old)
	if i < 0 {
		return false
	}
	r := newReassignment(old)
	for slot, owner := range g.owners {
		r.slots[slot] = owner == uint32(i)
	}
	g.members[i] = m
	g.epoch++
	if g.left == nil {
		g.left = make(map[Member]int)
	}
	g.left[old] = g.epoch
	g.forgetOver()
	g.began(map[Member]*reassignment{old: r})
	return true
}

// Ended says that a member has left and handles nothing any more.
func (g *Group) Ended(m Member) { delete(g.left, m) }

// Over reports whether the group has no members, and none of those who left has events that the next
// member must not overtake. Then nothing is lost if the group is forgotten.
func (g *Group) Over() bool {
	g.forgetOver()
	return len(g.members) == 0 && len(g.reassignments) == 0 && (g.last == nil || newReassignment(g.last).over())
}

// ownerOfSlots is the owner of each slot, nil for none.
func (g *Group) ownerOfSlots() *[Slots]Member {
	var owners [Slots]Member
	for slot, i := range g.owners {
		if owners[slot] = g.last; len(g.members) > 0 {
			owners[slot] = g.members[i]
		}
	}
	return &owners
}

// share begins an epoch: every member owns as many slots as the others, or one more, and as few slots
// move as possible. before is the owners until now.
func (g *Group) share(before *[Slots]Member) {
	g.epoch++
	g.forgetOver()
	if len(g.members) == 0 {
		return
	}
	quota := make([]int, len(g.members)) // how many more slots each may own
	index := make(map[Member]uint32, len(g.members))
	for i, m := range g.members {
		index[m] = uint32(i)
		quota[i] = Slots / len(g.members)
		if i < Slots%len(g.members) { // so those who own most come first
			quota[i]++
		}
	}
	var free []int
	for slot, owner := range before {
		if i, ok := index[owner]; ok && quota[i] > 0 {
			quota[i]--
			g.owners[slot] = i
		} else { // it has too many, or is no member
			free = append(free, slot)
		}
	}
	moved := make(map[Member]*reassignment)
	for i := range g.members {
		for _, slot := range free[:quota[i]] {
			if from := before[slot]; from != nil {
				if moved[from] == nil {
					moved[from] = newReassignment(from)
				}
				moved[from].slots[slot] = true
			}
			g.owners[slot] = uint32(i)
		}
		free = free[quota[i]:]
	}
	g.began(moved)
}
