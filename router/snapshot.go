package router

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// ErrInvalidTopology is wrapped by what [NewSnapshot] returns.
var ErrInvalidTopology = errors.New("router: invalid topology")

// Node is a Redis server. It is comparable; the zero Node stands for no server.
type Node struct {
	Addr string // host:port as dialled; what tells nodes apart within a snapshot
	ID   string // the cluster's node ID; "" if not known
}

// same reports whether two sightings are of one node: an address, and no ID that says otherwise. A
// node that was replaced by another at its address is not the same, though a view that knows no IDs
// cannot see it.
func (n Node) same(m Node) bool {
	return n.Addr == m.Addr && (n.ID == m.ID || n.ID == "" || m.ID == "")
}

func compareNodes(a, b Node) int {
	return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.ID, b.ID))
}

// SlotRange is the slots From to To, both included.
type SlotRange struct{ From, To int }

// Len returns the number of slots.
func (r SlotRange) Len() int { return r.To - r.From + 1 }

// String writes the range as Redis does: "0-5460", or "7" for a single slot.
func (r SlotRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To)
}

// Shard is a primary with its replicas and the slots they serve. A shard may have no slots: a
// primary that joined and owns nothing yet.
type Shard struct {
	Primary  Node
	Replicas []Node
	Slots    []SlotRange
}

// clone copies deeply. Empty lists become nil, so that equal shards are deeply equal.
func (s Shard) clone() Shard {
	s.Replicas = append([]Node(nil), s.Replicas...)
	s.Slots = append([]SlotRange(nil), s.Slots...)
	return s
}

// Snapshot is one view of the cluster. It is immutable and safe to use concurrently: what it
// returns is copied. Hold it behind an atomic pointer. A nil *Snapshot is the empty cluster.
//
// Shards have indices, 0 to Len()-1, which mean something within this snapshot only. Two snapshots
// of one topology are equal whatever the order of what they were built from: shards are sorted by
// their first slot (those without slots last, by the address of the primary), replicas by address,
// slot ranges are sorted and joined.
type Snapshot struct {
	shards  []Shard
	nodes   map[string]int // address → index of its shard
	covered int
	// owners has, for each slot, the index of its shard plus 1; 0 is nobody. It fits: no more than
	// Slots shards own slots, and they come first.
	owners [Slots]uint16
}

// NewSnapshot builds a view from shards in any order. It copies them. Slots that nobody owns are no
// error; see [Snapshot.Covered]. It fails, wrapping [ErrInvalidTopology], when a node has no
// address, an address occurs twice, a range is out of bounds or upside down, or a slot has two
// owners.
func NewSnapshot(shards []Shard) (*Snapshot, error) {
	s := &Snapshot{
		shards: make([]Shard, len(shards)),
		nodes:  make(map[string]int, 2*len(shards)),
	}
	for i, shard := range shards {
		shard = shard.clone()
		if err := checkRanges(shard); err != nil {
			return nil, err
		}
		shard.Slots = joinRanges(shard.Slots)
		slices.SortFunc(shard.Replicas, compareNodes)
		s.shards[i] = shard
	}
	slices.SortFunc(s.shards, compareShards)
	for i, shard := range s.shards {
		if err := s.addNodes(i, shard); err != nil {
			return nil, err
		}
		if err := s.addSlots(i, shard); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func checkRanges(shard Shard) error {
	for _, r := range shard.Slots {
		if r.From < 0 || r.To >= Slots || r.From > r.To {
			return fmt.Errorf("%w: shard of %q: slots %d to %d, want 0 to %d in ascending order",
				ErrInvalidTopology, shard.Primary.Addr, r.From, r.To, Slots-1)
		}
	}
	ranges := slices.SortedFunc(slices.Values(shard.Slots), compareRanges)
	for i := 1; i < len(ranges); i++ {
		if ranges[i].From <= ranges[i-1].To {
			return fmt.Errorf("%w: shard of %q: slot %d is named twice",
				ErrInvalidTopology, shard.Primary.Addr, ranges[i].From)
		}
	}
	return nil
}

func compareRanges(a, b SlotRange) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
}

// joinRanges sorts ranges that do not overlap, in place, and joins those that touch.
func joinRanges(ranges []SlotRange) []SlotRange {
	slices.SortFunc(ranges, compareRanges)
	joined := ranges[:0]
	for _, r := range ranges {
		if last := len(joined) - 1; last >= 0 && joined[last].To+1 == r.From {
			joined[last].To = r.To
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

func compareShards(a, b Shard) int {
	return cmp.Or(cmp.Compare(a.firstSlot(), b.firstSlot()), compareNodes(a.Primary, b.Primary))
}

// firstSlot is Slots for a shard that owns none. It expects sorted ranges.
func (s Shard) firstSlot() int {
	if len(s.Slots) == 0 {
		return Slots
	}
	return s.Slots[0].From
}

func (s *Snapshot) addNodes(i int, shard Shard) error {
	for node, role := range shard.members() {
		if node.Addr == "" {
			return fmt.Errorf("%w: a %s of the shard of %q has no address",
				ErrInvalidTopology, role, shard.Primary.Addr)
		}
		if _, taken := s.nodes[node.Addr]; taken {
			return fmt.Errorf("%w: node %q is listed twice", ErrInvalidTopology, node.Addr)
		}
		s.nodes[node.Addr] = i
	}
	return nil
}

func (s *Snapshot) addSlots(i int, shard Shard) error {
	for _, r := range shard.Slots {
		for slot := r.From; slot <= r.To; slot++ {
			if owner := s.owners[slot]; owner != 0 {
				return fmt.Errorf("%w: slot %d belongs to %q and to %q",
					ErrInvalidTopology, slot, s.shards[owner-1].Primary.Addr, shard.Primary.Addr)
			}
			s.owners[slot] = uint16(i + 1) //nolint:gosec // shards with slots come first: i < Slots
		}
		s.covered += r.Len()
	}
	return nil
}

// Of returns the index of the shard that owns a slot. ok is false if nobody does, or there is no
// such slot. It takes constant time and does not allocate.
func (s *Snapshot) Of(slot int) (shard int, ok bool) {
	if s == nil || slot < 0 || slot >= Slots {
		return 0, false
	}
	owner := int(s.owners[slot])
	return max(0, owner-1), owner != 0
}

// Primary returns the primary that owns a slot; ok is as in [Snapshot.Of]. It takes constant time
// and does not allocate.
func (s *Snapshot) Primary(slot int) (node Node, ok bool) {
	i, ok := s.Of(slot)
	if !ok {
		return Node{}, false
	}
	return s.shards[i].Primary, true
}

// Len returns the number of shards, those without slots included.
func (s *Snapshot) Len() int {
	if s == nil {
		return 0
	}
	return len(s.shards)
}

// Shard returns the shard of an index, as a copy. ok is false if there is none.
func (s *Snapshot) Shard(i int) (shard Shard, ok bool) {
	if i < 0 || i >= s.Len() {
		return Shard{}, false
	}
	return s.shards[i].clone(), true
}

// Shards returns all shards in the order of their indices, as a copy.
func (s *Snapshot) Shards() []Shard {
	shards := make([]Shard, s.Len())
	for i := range shards {
		shards[i] = s.shards[i].clone()
	}
	return shards
}

// NodeShard returns the index of the shard a node belongs to, as primary or replica. ok is false if
// the address is not known. It does not allocate.
func (s *Snapshot) NodeShard(addr string) (shard int, ok bool) {
	if s == nil {
		return 0, false
	}
	shard, ok = s.nodes[addr]
	return shard, ok
}

// Covered returns the number of slots that have an owner: Slots when the cluster is whole.
func (s *Snapshot) Covered() int {
	if s == nil {
		return 0
	}
	return s.covered
}

// Holes returns the ranges of slots that nobody owns, in ascending order; nil when the cluster is
// whole.
func (s *Snapshot) Holes() []SlotRange {
	var holes []SlotRange
	for slot := 0; slot < Slots; slot++ {
		from := slot
		for ; slot < Slots; slot++ {
			if _, owned := s.Of(slot); owned {
				break
			}
		}
		if from < slot {
			holes = append(holes, SlotRange{From: from, To: slot - 1})
		}
	}
	return holes
}
