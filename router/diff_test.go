package router

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestDiffTells goes through what happens to clusters, one story each, from three shards of three
// nodes.
func TestDiffTells(t *testing.T) {
	start := []Shard{
		shard(third(0), "a", "a1", "a2"),
		shard(third(1), "b", "b1", "b2"),
		shard(third(2), "c", "c1", "c2"),
	}
	half := []SlotRange{{0, 2000}}
	rest := []SlotRange{{2001, 5460}}
	for _, story := range []struct {
		name  string
		after []Shard
		want  Changes
	}{
		{"nothing", start, Changes{}},
		{
			"graceful fail-over",
			[]Shard{shard(third(0), "a1", "a", "a2"), start[1], start[2]},
			Changes{
				Slots:    []SlotMove{{Slots: thirds[0], From: node("a"), To: node("a1"), SameShard: true}},
				Promoted: []Node{node("a1")},
				Demoted:  []Node{node("a")},
			},
		},
		{
			"primary dead and gone",
			[]Shard{shard(third(0), "a1", "a2"), start[1], start[2]},
			Changes{
				Slots:    []SlotMove{{Slots: thirds[0], From: node("a"), To: node("a1"), SameShard: true}},
				Removed:  []Node{node("a")},
				Promoted: []Node{node("a1")},
			},
		},
		{
			"a replica is moved to another shard",
			[]Shard{shard(third(0), "a", "a1", "b2"), shard(third(1), "b", "b1", "a2"), start[2]},
			Changes{Moved: []ShardMove{
				{Node: node("a2"), From: node("a"), To: node("b")},
				{Node: node("b2"), From: node("b"), To: node("a")},
			}},
		},
		{
			"a fail-over, and the orphan gets another shard's replica",
			[]Shard{shard(third(0), "a1", "b2"), shard(third(1), "b", "b1"), start[2]},
			Changes{
				Slots:    []SlotMove{{Slots: thirds[0], From: node("a"), To: node("a1"), SameShard: true}},
				Removed:  []Node{node("a"), node("a2")},
				Promoted: []Node{node("a1")},
				Moved:    []ShardMove{{Node: node("b2"), From: node("b"), To: node("a1")}},
			},
		},
		{
			"a replica moves to another shard and leads it at once",
			[]Shard{shard(third(0), "a", "a1"), shard(third(1), "a2", "b1", "b2"), start[2]},
			Changes{
				Slots:    []SlotMove{{Slots: thirds[1], From: node("b"), To: node("a2"), SameShard: true}},
				Removed:  []Node{node("b")},
				Promoted: []Node{node("a2")},
				Moved:    []ShardMove{{Node: node("a2"), From: node("a"), To: node("a2")}},
			},
		},
		{
			"slots migrate to a new shard",
			[]Shard{shard(rest, "a", "a1", "a2"), start[1], start[2], shard(half, "d", "d1")},
			Changes{
				Slots: []SlotMove{{Slots: half[0], From: node("a"), To: node("d")}},
				Added: []Node{node("d"), node("d1")},
			},
		},
		{
			"a shard takes over all slots of another, which stays empty",
			[]Shard{shard(nil, "a", "a1", "a2"), shard([]SlotRange{thirds[0], thirds[1]}, "b", "b1", "b2"), start[2]},
			Changes{Slots: []SlotMove{{Slots: thirds[0], From: node("a"), To: node("b")}}},
		},
		{
			"fail-over, and the old primary comes back reset and alone",
			[]Shard{shard(third(0), "a1", "a2"), start[1], start[2], shard(nil, "a")},
			Changes{
				Slots:    []SlotMove{{Slots: thirds[0], From: node("a"), To: node("a1"), SameShard: true}},
				Promoted: []Node{node("a1")},
				Moved:    []ShardMove{{Node: node("a"), From: node("a"), To: node("a")}},
			},
		},
		{
			"slots vanish",
			[]Shard{shard(rest, "a", "a1", "a2"), start[1], start[2]},
			Changes{Slots: []SlotMove{{Slots: half[0], From: node("a")}}},
		},
		{
			"another node at an address",
			[]Shard{start[0], {Primary: Node{"b", "other"}, Replicas: start[1].Replicas, Slots: third(1)}, start[2]},
			Changes{
				Slots:   []SlotMove{{Slots: thirds[1], From: node("b"), To: Node{"b", "other"}, SameShard: true}},
				Added:   []Node{{"b", "other"}},
				Removed: []Node{node("b")},
			},
		},
		{
			"a view that does not know an ID",
			[]Shard{start[0], {Primary: Node{Addr: "b"}, Replicas: start[1].Replicas, Slots: third(1)}, start[2]},
			Changes{},
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			before, after := mustSnapshot(t, start...), mustSnapshot(t, story.after...)
			got := Diff(before, after)
			if !reflect.DeepEqual(got, story.want) {
				t.Errorf("Diff\n got %+v\nwant %+v", got, story.want)
			}
			if got.Empty() != reflect.DeepEqual(story.want, Changes{}) {
				t.Errorf("Empty() = %v", got.Empty())
			}
		})
	}
}

func TestDiffFromAndToNothing(t *testing.T) {
	s := mustSnapshot(t, shard(third(0), "a", "a1"), shard(third(1), "b"))
	appeared := Diff(nil, s)
	want := Changes{
		Slots: []SlotMove{{Slots: thirds[0], To: node("a")}, {Slots: thirds[1], To: node("b")}},
		Added: []Node{node("a"), node("a1"), node("b")},
	}
	if !reflect.DeepEqual(appeared, want) {
		t.Errorf("Diff(nil, s) = %+v, want %+v", appeared, want)
	}
	vanished := Diff(s, nil)
	want = Changes{
		Slots:   []SlotMove{{Slots: thirds[0], From: node("a")}, {Slots: thirds[1], From: node("b")}},
		Removed: []Node{node("a"), node("a1"), node("b")},
	}
	if !reflect.DeepEqual(vanished, want) {
		t.Errorf("Diff(s, nil) = %+v, want %+v", vanished, want)
	}
}

// ownerAddrs is the owner map of a snapshot, address by slot.
func ownerAddrs(s *Snapshot) (owners [Slots]string) {
	for slot := range owners {
		n, _ := s.Primary(slot)
		owners[slot] = n.Addr
	}
	return owners
}

// checkDiff checks all that holds of any two snapshots.
func checkDiff(t *rapid.T, before, after *Snapshot) {
	c := Diff(before, after)
	if again := Diff(before, after); !reflect.DeepEqual(again, c) {
		t.Fatalf("Diff is not deterministic: %+v, then %+v", c, again)
	}

	// Owners: before and the moves make after.
	owners := ownerAddrs(before)
	last := -1
	for _, move := range c.Slots {
		if move.Slots.From <= last || move.From == move.To {
			t.Fatalf("move %+v is out of order or none", move)
		}
		last = move.Slots.To
		for slot := move.Slots.From; slot <= move.Slots.To; slot++ {
			if owners[slot] != move.From.Addr {
				t.Fatalf("slot %d is moved from %q, it belonged to %q", slot, move.From.Addr, owners[slot])
			}
			owners[slot] = move.To.Addr
		}
	}
	if owners != ownerAddrs(after) {
		t.Fatal("before and the moves do not make after")
	}

	// Nodes: before, less the removed, and the added make after.
	nodes := make(map[string]bool)
	for addr := range before.sightings() {
		nodes[addr] = true
	}
	for _, n := range c.Removed {
		delete(nodes, n.Addr)
	}
	for _, n := range c.Added {
		if nodes[n.Addr] {
			t.Fatalf("%v was added, but was there", n)
		}
		nodes[n.Addr] = true
	}
	is := after.sightings()
	if len(nodes) != len(is) {
		t.Fatalf("before and the changes have %d nodes, after has %d", len(nodes), len(is))
	}

	// Roles: who stayed has its role, or was promoted or demoted.
	for _, n := range append(slices.Clone(c.Promoted), c.Demoted...) {
		if slices.Contains(c.Added, n) || slices.Contains(c.Removed, n) {
			t.Fatalf("%v changed its role, but did not stay", n)
		}
	}
	for addr, then := range before.sightings() {
		now, stays := is[addr]
		if !stays || slices.Contains(c.Added, now.node) {
			continue
		}
		role := then.role
		if slices.Contains(c.Promoted, now.node) {
			role = primary
		}
		if slices.Contains(c.Demoted, now.node) {
			role = replica
		}
		if role != now.role {
			t.Fatalf("%v is a %s, by the changes a %s", now.node, now.role, role)
		}
	}

	// Backwards, the same happened the other way round.
	back := Diff(after, before)
	if len(back.Slots) != len(c.Slots) || len(back.Added) != len(c.Removed) || len(back.Removed) != len(c.Added) ||
		len(back.Promoted) != len(c.Demoted) || len(back.Demoted) != len(c.Promoted) {
		t.Fatalf("forwards %+v, backwards %+v", c, back)
	}
}

func TestDiffOfAnyTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := mustSnapshot(t, anyShards().Draw(t, "before")...)
		after := mustSnapshot(t, anyShards().Draw(t, "after")...)
		checkDiff(t, before, after)
	})
}

func TestDiffOfEqualsIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := anyShards().Draw(t, "shards")
		s := mustSnapshot(t, shards...)
		same := mustSnapshot(t, rapid.Permutation(shards).Draw(t, "order")...)
		if c := Diff(s, same); !c.Empty() {
			t.Fatalf("Diff of equals = %+v", c)
		}
	})
}

// TestDiffEmptyMeansEqual: if Diff sees nothing, the snapshots differ in nothing but IDs that one
// of them lacks.
func TestDiffEmptyMeansEqual(t *testing.T) {
	withoutIDs := func(shards []Shard) []Shard {
		for i := range shards {
			shards[i].Primary.ID = ""
			for j := range shards[i].Replicas {
				shards[i].Replicas[j].ID = ""
			}
		}
		return shards
	}
	rapid.Check(t, func(t *rapid.T) {
		before := mustSnapshot(t, withoutIDs(anyShards().Draw(t, "before"))...)
		shards := before.Shards()
		// One small change, so that what Diff could overlook is drawn often.
		if len(shards) > 1 && len(shards[0].Replicas) > 0 {
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0: // a replica wanders
				shards[1].Replicas = append(shards[1].Replicas, shards[0].Replicas[0])
				shards[0].Replicas = shards[0].Replicas[1:]
			case 1: // fail-over
				shards[0].Primary, shards[0].Replicas[0] = shards[0].Replicas[0], shards[0].Primary
			case 2: // all slots change hands
				shards[0].Slots, shards[1].Slots = shards[1].Slots, shards[0].Slots
			}
		}
		after := mustSnapshot(t, shards...)
		if equal := reflect.DeepEqual(before, after); Diff(before, after).Empty() != equal {
			t.Fatalf("equal: %v, yet Diff = %+v", equal, Diff(before, after))
		}
	})
}

func BenchmarkDiff(b *testing.B) {
	before, err := NewSnapshot([]Shard{shard(third(0), "a", "a1"), shard(third(1), "b", "b1"), shard(third(2), "c", "c1")})
	if err != nil {
		b.Fatal(err)
	}
	after, err := NewSnapshot([]Shard{shard(third(0), "a1"), shard(third(1), "b", "b1"), shard(third(2), "c", "c1")})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sink += len(Diff(before, after).Slots)
	}
}
