package fakecluster

import (
	"slices"

	"github.com/shardbus/shardbus/router"
)

// view is what a node believes: who serves which slot. It is never changed once it is settled, only replaced.
type view struct {
	epoch  uint64
	shards []shard
	owner  [router.Slots]int16 // the index in shards; -1: nobody

	// Made by settle, because clients ask for it all the time.
	runs   []run                // of slots with one owner, in order
	ranges [][]router.SlotRange // of each shard
	holes  bool                 // some slots have no owner
}

// run is a range of slots with its shard.
type run struct {
	router.SlotRange
	shard int
}

// derive computes what follows from the owners.
func (v *view) derive() *view {
	v.runs, v.ranges, v.holes = nil, make([][]router.SlotRange, len(v.shards)), false
	for from := 0; from < router.Slots; {
		last, owner := from, v.owner[from]
		for last+1 < router.Slots && v.owner[last+1] == owner {
			last++
		}
		if slots := (router.SlotRange{From: from, To: last}); owner < 0 {
			v.holes = true
		} else {
			v.runs = append(v.runs, run{SlotRange: slots, shard: int(owner)})
			v.ranges[owner] = append(v.ranges[owner], slots)
		}
		from = last + 1
	}
	return v
}

// shard is a primary with its replicas.
type shard struct {
	id       string
	primary  *Node
	replicas []*Node
	lost     []*Node // were its primary, and have not been heard of since
	epoch    uint64
}

func (s *shard) has(n *Node) bool { return s.primary == n || slices.Contains(s.replicas, n) }

// members are the primary and the replicas.
func (s *shard) members() []*Node { return append([]*Node{s.primary}, s.replicas...) }

// of returns the shard of a slot; nil if nobody serves it.
func (v *view) of(slot int) *shard {
	if slot < 0 || slot >= router.Slots || v.owner[slot] < 0 {
		return nil
	}
	return &v.shards[v.owner[slot]]
}

// home returns the shard of a node, and its index. A lost node has none: nil, -1.
func (v *view) home(n *Node) (*shard, int) {
	for i := range v.shards {
		if v.shards[i].has(n) {
			return &v.shards[i], i
		}
	}
	return nil, -1
}

// clone returns a copy to be changed and settled, of a newer epoch.
func (v *view) clone() *view {
	after := *v
	after.epoch++
	after.shards = slices.Clone(v.shards)
	for i := range after.shards {
		after.shards[i].replicas = slices.Clone(v.shards[i].replicas)
		after.shards[i].lost = slices.Clone(v.shards[i].lost)
	}
	return &after
}

// without returns nodes but n.
func without(nodes []*Node, n *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(other *Node) bool { return other == n })
}

// drops reports whether node n drops the channels of a slot when it learns that before has become after.
//
// Up to 7.2.1 a node of the shard that gives up the slot drops them, unless it is the new primary; all others keep what
// they have. Later every node drops them when the slot's primary changes, or when the node itself leaves the shard.
func drops(v version, n *Node, slot int, before, after *view) bool {
	from, to := before.of(slot), after.of(slot)
	if v.before(dropping) {
		if from == nil || to != nil && from.primary == to.primary {
			return false
		}
		return from.has(n) && (to == nil || to.primary != n)
	}
	if from == nil || to == nil || from.primary != to.primary {
		return true
	}
	return from.has(n) && !to.has(n)
}
