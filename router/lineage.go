package router

import (
	"cmp"
	"iter"
	"slices"
)

// noShard stands for the index of a shard where there is none.
const noShard = -1

// lineage returns, for each shard of after, the index of the shard of before that it continues, or
// noShard. No two continue the same one.
//
// A shard has no name of its own, and everything about it can change: its primary (fail-over), its
// slots (migration), its replicas (they wander). So the evidence is weighed, the strongest first:
//
//  1. the same primary, and slots in common: untouched, or slots went in or out;
//  2. slots in common, most first: a fail-over. It comes after 1, or a shard that takes over all the slots of a larger
//     one would be taken for it; and before 3, or an old primary that came back empty would be taken for the shard
//     that its replica now leads;
//  3. the same primary: a shard that lost all its slots, had none, or gained its first;
//  4. the new primary was in it: the fail-over of a shard without slots.
func lineage(before, after *Snapshot) []int {
	m := matching{origin: make([]int, after.Len()), taken: make([]bool, before.Len())}
	for i := range m.origin {
		m.origin[i] = noShard
	}

	common := commonSlots(before, after)
	for _, c := range common {
		if before.shards[c.before].Primary.same(after.shards[c.after].Primary) {
			m.match(c.shardPair)
		}
	}
	for _, c := range common {
		m.match(c.shardPair)
	}
	was := before.sightings()
	for _, wanted := range []role{primary, replica} {
		for i := range m.origin {
			now := after.shards[i].Primary
			if then, known := was[now.Addr]; known && then.role == wanted && then.node.same(now) {
				m.match(shardPair{before: then.shard, after: i})
			}
		}
	}
	return m.origin
}

// matching pairs shards one to one; the first pair wins.
type matching struct {
	origin []int
	taken  []bool
}

func (m *matching) match(p shardPair) {
	if m.origin[p.after] == noShard && !m.taken[p.before] {
		m.origin[p.after] = p.before
		m.taken[p.before] = true
	}
}

// shardPair is a shard of an old and one of a new snapshot, by index; noShard where there is none.
type shardPair struct{ before, after int }

type commonCount struct {
	shardPair
	slots int
}

// commonSlots lists the pairs of shards that have slots in common, those with most first.
func commonSlots(before, after *Snapshot) []commonCount {
	counts := make(map[shardPair]int)
	for slots, pair := range ownerRuns(before, after) {
		if pair.before != noShard && pair.after != noShard {
			counts[pair] += slots.Len()
		}
	}
	common := make([]commonCount, 0, len(counts))
	for pair, n := range counts {
		common = append(common, commonCount{shardPair: pair, slots: n})
	}
	slices.SortFunc(common, func(a, b commonCount) int {
		return cmp.Or(-cmp.Compare(a.slots, b.slots), cmp.Compare(a.before, b.before), cmp.Compare(a.after, b.after))
	})
	return common
}

// ownerRuns yields the longest ranges of slots that have one owner in before and one in after, in
// ascending order. Together they are all slots.
func ownerRuns(before, after *Snapshot) iter.Seq2[SlotRange, shardPair] {
	return func(yield func(SlotRange, shardPair) bool) {
		from, current := 0, ownersOf(before, after, 0)
		for slot := 1; slot < Slots; slot++ {
			next := ownersOf(before, after, slot)
			if next == current {
				continue
			}
			if !yield(SlotRange{From: from, To: slot - 1}, current) {
				return
			}
			from, current = slot, next
		}
		yield(SlotRange{From: from, To: Slots - 1}, current)
	}
}

func ownersOf(before, after *Snapshot, slot int) shardPair {
	pair := shardPair{before: noShard, after: noShard}
	if i, ok := before.Of(slot); ok {
		pair.before = i
	}
	if i, ok := after.Of(slot); ok {
		pair.after = i
	}
	return pair
}
