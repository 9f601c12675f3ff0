package router

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func node(addr string) Node { return Node{Addr: addr, ID: "id-" + addr} }

// shard builds a shard of nodes, the primary first.
func shard(slots []SlotRange, addrs ...string) Shard {
	s := Shard{Primary: node(addrs[0]), Slots: slots}
	for _, addr := range addrs[1:] {
		s.Replicas = append(s.Replicas, node(addr))
	}
	return s
}

func mustSnapshot(t rapid.TB, shards ...Shard) *Snapshot {
	t.Helper()
	s, err := NewSnapshot(shards)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// thirds deals out all slots to three shards.
var thirds = equalShards(3)

func third(i int) []SlotRange { return []SlotRange{thirds[i]} }

func TestSnapshotAnswers(t *testing.T) {
	s := mustSnapshot(t,
		shard(nil, "new"),
		shard(third(2), "c", "c1"),
		shard([]SlotRange{{100, 5460}, {0, 97}, {98, 98}}, "a", "a2", "a1"),
	)
	want := []Shard{
		shard([]SlotRange{{0, 98}, {100, 5460}}, "a", "a1", "a2"),
		shard(third(2), "c", "c1"),
		shard(nil, "new"),
	}
	if got := s.Shards(); !reflect.DeepEqual(got, want) {
		t.Errorf("Shards() = %+v, want %+v", got, want)
	}
	for slot, want := range map[int]int{
		0: 0, 98: 0, 99: -1, 100: 0, 5460: 0, 5461: -1, 10922: -1, 10923: 1, 16383: 1, -1: -1, Slots: -1,
	} {
		i, ok := s.Of(slot)
		primary, owned := s.Primary(slot)
		if ok != (want >= 0) || owned != ok || ok && (i != want || primary != s.Shards()[i].Primary) {
			t.Errorf("slot %d: shard %d, %v, primary %v; want shard %d", slot, i, ok, primary, want)
		}
	}
	for addr, want := range map[string]int{"a": 0, "a1": 0, "a2": 0, "c": 1, "c1": 1, "new": 2} {
		if i, ok := s.NodeShard(addr); i != want || !ok {
			t.Errorf("NodeShard(%q) = %d, %v, want %d", addr, i, ok, want)
		}
	}
	if _, ok := s.NodeShard("nobody"); ok {
		t.Error("NodeShard knows nobody")
	}
	if got, want := s.Holes(), []SlotRange{{99, 99}, {5461, 10922}}; !slices.Equal(got, want) {
		t.Errorf("Holes() = %v, want %v", got, want)
	}
	if got := s.Covered(); got != Slots-1-5462 {
		t.Errorf("Covered() = %d", got)
	}
	if got := fmt.Sprint(s.Holes()); got != "[99 5461-10922]" {
		t.Errorf("ranges print as %s", got)
	}
}

func TestSnapshotRefuses(t *testing.T) {
	for _, c := range []struct {
		name, says string
		shards     []Shard
	}{
		{"overlap", `slot 5 belongs to "a" and to "b"`, []Shard{shard([]SlotRange{{0, 5}}, "a"), shard([]SlotRange{{5, 9}}, "b")}},
		{"overlap of its own", "slot 5 is named twice", []Shard{shard([]SlotRange{{5, 9}, {0, 5}}, "a")}},
		{"below", "slots -1 to 5", []Shard{shard([]SlotRange{{-1, 5}}, "a")}},
		{"above", "slots 0 to 16384", []Shard{shard([]SlotRange{{0, Slots}}, "a")}},
		{"upside down", "slots 5 to 4", []Shard{shard([]SlotRange{{5, 4}}, "a")}},
		{"primary without address", "a primary", []Shard{{}}},
		{"replica without address", `a replica of the shard of "a"`, []Shard{shard(nil, "a", "")}},
		{"node in two shards", `"b" is listed twice`, []Shard{shard(nil, "a", "b"), shard(nil, "b")}},
		{"node twice in a shard", `"a" is listed twice`, []Shard{shard(nil, "a", "a")}},
	} {
		s, err := NewSnapshot(c.shards)
		if s != nil || !errors.Is(err, ErrInvalidTopology) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an ErrInvalidTopology that says %q", c.name, err, c.says)
		}
	}
}

func TestNilSnapshotIsEmpty(t *testing.T) {
	empty := mustSnapshot(t)
	for _, s := range []*Snapshot{nil, empty} {
		_, of := s.Of(0)
		_, primary := s.Primary(0)
		_, shard := s.Shard(0)
		_, known := s.NodeShard("a")
		if of || primary || shard || known || s.Len() != 0 || len(s.Shards()) != 0 || s.Covered() != 0 {
			t.Error("an empty snapshot has something")
		}
		if got := s.Holes(); !slices.Equal(got, []SlotRange{{0, Slots - 1}}) {
			t.Errorf("Holes() = %v, want all", got)
		}
	}
	if !Diff(nil, empty).Empty() || !Diff(empty, nil).Empty() || !Diff(nil, nil).Empty() {
		t.Error("nil differs from empty")
	}
}

func TestSnapshotIsImmutable(t *testing.T) {
	given := []Shard{shard([]SlotRange{{0, 9}, {10, 20}}, "a", "a2", "a1")}
	untouched := []Shard{shard([]SlotRange{{0, 9}, {10, 20}}, "a", "a2", "a1")}
	s := mustSnapshot(t, given...)
	if !reflect.DeepEqual(given, untouched) {
		t.Errorf("NewSnapshot changed its argument to %+v", given)
	}
	want := s.Shards()
	got, _ := s.Shard(0)
	for _, shard := range []Shard{given[0], got, s.Shards()[0]} {
		shard.Replicas[0] = node("evil")
		shard.Slots[0] = SlotRange{7, 7}
	}
	if !reflect.DeepEqual(s.Shards(), want) {
		t.Error("a snapshot was changed from outside")
	}
}

// anyShards draws valid shards over a small pool of nodes, so that two draws have much in common.
func anyShards() *rapid.Generator[[]Shard] {
	return rapid.Custom(func(t *rapid.T) []Shard {
		addrs := rapid.Permutation([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "addrs")
		shards := make([]Shard, rapid.IntRange(0, 4).Draw(t, "shards"))
		next := func() Node {
			n := Node{Addr: addrs[0], ID: rapid.SampledFrom([]string{"", "1", "1", "1", "2"}).Draw(t, "id")}
			addrs = addrs[1:]
			return n
		}
		for i := range shards {
			shards[i].Primary = next()
		}
		for i := range shards {
			for range rapid.IntRange(0, min(2, len(addrs)-(len(shards)-1-i))).Draw(t, "replicas") {
				if len(addrs) > 0 {
					shards[i].Replicas = append(shards[i].Replicas, next())
				}
			}
		}
		cut := rapid.OneOf(rapid.IntRange(0, Slots), rapid.SampledFrom([]int{0, 1, 5461, 10923, Slots}))
		cuts := rapid.SliceOfN(cut, 0, 8).Draw(t, "cuts")
		cuts = append(cuts, 0, Slots)
		slices.Sort(cuts)
		for i := range len(cuts) - 1 {
			owner := rapid.IntRange(-1, len(shards)-1).Draw(t, "owner")
			if owner >= 0 && cuts[i] < cuts[i+1] {
				shards[owner].Slots = append(shards[owner].Slots, SlotRange{cuts[i], cuts[i+1] - 1})
			}
		}
		return shards
	})
}

func TestSnapshotHoldsWhatWasGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := anyShards().Draw(t, "shards")
		s := mustSnapshot(t, shards...)
		covered := 0
		var owners [Slots]Node
		for _, shard := range shards {
			for _, r := range shard.Slots {
				covered += r.Len()
				for slot := r.From; slot <= r.To; slot++ {
					owners[slot] = shard.Primary
				}
			}
			for n := range shard.members() {
				i, ok := s.NodeShard(n.Addr)
				if got, _ := s.Shard(i); !ok || got.Primary != shard.Primary {
					t.Fatalf("%v is in the shard of %v, want %v", n, got.Primary, shard.Primary)
				}
			}
		}
		for slot := range Slots {
			got, ok := s.Primary(slot)
			if want := owners[slot]; got != want || ok != (want != Node{}) {
				t.Fatalf("slot %d: %v, want %v", slot, got, want)
			}
		}
		holes := 0
		for _, r := range s.Holes() {
			holes += r.Len()
		}
		if s.Covered() != covered || holes != Slots-covered {
			t.Fatalf("covered %d and %d in holes, want %d and the rest", s.Covered(), holes, covered)
		}
		again := mustSnapshot(t, rapid.Permutation(shards).Draw(t, "order")...)
		if !reflect.DeepEqual(again, s) || !reflect.DeepEqual(mustSnapshot(t, s.Shards()...), s) {
			t.Fatal("the order of the input shows")
		}
	})
}

func TestSnapshotLookupsDoNotAllocate(t *testing.T) {
	s := mustSnapshot(t, shard(third(0), "a", "a1"), shard(third(1), "b"), shard(third(2), "c"))
	if n := testing.AllocsPerRun(100, func() {
		sink, _ = s.Of(12345)
		sink, _ = s.NodeShard("a1")
		_, _ = s.Primary(5)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkSnapshotOf(b *testing.B) {
	s, err := NewSnapshot([]Shard{shard(third(0), "a"), shard(third(1), "b"), shard(third(2), "c")})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = s.Of(12345)
	}
}
