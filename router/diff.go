package router

import "slices"

// SlotMove is a range of slots whose primary changed.
type SlotMove struct {
	Slots SlotRange
	From  Node // the zero Node: nobody owned them
	To    Node // the zero Node: nobody owns them now
	// SameShard means that the slots stayed in their shard, which has another primary: a fail-over.
	// Else they went to another shard, appeared or vanished.
	SameShard bool
}

// ShardMove is a node that was and is in the cluster, but in another shard.
type ShardMove struct {
	Node Node // as the new snapshot names it
	From Node // the primary of the shard it was in, then; the node itself if it was that
	To   Node // the primary of the shard it is in, now; the node itself if it is that
}

// Changes is what differs between two snapshots. Each list is sorted, and nil when it is empty, so
// equal pairs of snapshots give equal changes. A node counts as the same in both if its address is,
// unless both snapshots know its ID and the IDs differ: then one was removed and another added.
type Changes struct {
	Slots    []SlotMove  // in ascending order; neighbours of the same From and To are one
	Added    []Node      // by address
	Removed  []Node      // by address
	Promoted []Node      // replica then, primary now; as the new snapshot names them, by address
	Demoted  []Node      // primary then, replica now; likewise
	Moved    []ShardMove // by address of the node
}

// Empty reports whether nothing changed.
func (c Changes) Empty() bool {
	return len(c.Slots) == 0 && len(c.Added) == 0 && len(c.Removed) == 0 &&
		len(c.Promoted) == 0 && len(c.Demoted) == 0 && len(c.Moved) == 0
}

// Diff returns what changed from before to after; either may be nil. Diff(x, x) is empty. If you
// apply Slots to the owners of before, you get those of after, address for address. It looks at
// each slot: call it when a view arrives, not for an event.
//
// No snapshot says which shard of after continues which of before, so Diff infers it; see lineage.
func Diff(before, after *Snapshot) Changes {
	if before == after {
		return Changes{}
	}
	origin := lineage(before, after)
	var c Changes
	c.Slots = slotMoves(before, after, origin)
	was, is := before.sightings(), after.sightings()
	for addr, now := range is {
		then, known := was[addr]
		if !known || !then.node.same(now.node) {
			c.Added = append(c.Added, now.node)
			continue
		}
		if then.role != now.role {
			if now.role == primary {
				c.Promoted = append(c.Promoted, now.node)
			} else {
				c.Demoted = append(c.Demoted, now.node)
			}
		}
		if origin[now.shard] != then.shard {
			c.Moved = append(c.Moved, ShardMove{
				Node: now.node,
				From: before.shards[then.shard].Primary,
				To:   after.shards[now.shard].Primary,
			})
		}
	}
	for addr, then := range was {
		if now, known := is[addr]; !known || !then.node.same(now.node) {
			c.Removed = append(c.Removed, then.node)
		}
	}
	// Maps were walked: sorting is what makes the order deterministic. An address occurs once in
	// each list.
	for _, nodes := range [][]Node{c.Added, c.Removed, c.Promoted, c.Demoted} {
		slices.SortFunc(nodes, compareNodes)
	}
	slices.SortFunc(c.Moved, func(a, b ShardMove) int { return compareNodes(a.Node, b.Node) })
	return c
}

// sighting is a node as one snapshot shows it.
type sighting struct {
	node  Node
	role  role
	shard int
}

// sightings returns the nodes of a snapshot by address.
func (s *Snapshot) sightings() map[string]sighting {
	if s == nil {
		return nil
	}
	seen := make(map[string]sighting, len(s.nodes))
	for i, shard := range s.shards {
		for node, role := range shard.members() {
			seen[node.Addr] = sighting{node: node, role: role, shard: i}
		}
	}
	return seen
}

// slotMoves compares the owners slot by slot.
func slotMoves(before, after *Snapshot, origin []int) []SlotMove {
	var moves []SlotMove
	for slots, pair := range ownerRuns(before, after) {
		move := SlotMove{Slots: slots}
		if pair.before != noShard {
			move.From = before.shards[pair.before].Primary
		}
		if pair.after != noShard {
			move.To = after.shards[pair.after].Primary
			move.SameShard = pair.before != noShard && origin[pair.after] == pair.before
		}
		if !move.From.same(move.To) {
			moves = append(moves, move)
		}
	}
	return moves
}
