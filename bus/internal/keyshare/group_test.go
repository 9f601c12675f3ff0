package keyshare

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// count is how many slots each owner has, and has none but members own any.
func count(t *rapid.T, g *Group) map[Member]int {
	t.Helper()
	owned := make(map[Member]int)
	for _, m := range g.Members() {
		owned[m] = 0
	}
	for slot := range Slots {
		m := g.Owner(hashInSlot(slot))
		if _, ok := owned[m]; !ok {
			t.Fatalf("slot %d belongs to %v, which is no member", slot, m)
		}
		owned[m]++
	}
	return owned
}

// hashInSlot is a key hash of that slot.
func hashInSlot(slot int) uint64 { return uint64(slot)<<40 | 1 }

// Shares differ by one slot at most, and no slot moves that need not: as many members join and leave
// as may be, more than there are slots among them.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Group
		var members []Member
		for range rapid.IntRange(0, 1).Draw(t, "crowd") * rapid.IntRange(0, 1100).Draw(t, "members") {
			members = append(members, &fakeMember{})
			g.members = append(g.members, members[len(members)-1])
		}
		if len(members) > 0 { // as if they had joined one after another
			before := g.ownerOfSlots()
			g.share(before)
		}
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			before := *g.ownerOfSlots()
			owned := make(map[Member]int)
			for _, m := range before {
				owned[m]++
			}
			var left Member
			if len(members) == 0 || rapid.Bool().Draw(t, "join") {
				members = append(members, &fakeMember{})
				g.Join(members[len(members)-1])
			} else {
				i := rapid.IntRange(0, len(members)-1).Draw(t, "leaver")
				left = members[i]
				members = append(members[:i:i], members[i+1:]...)
				if !g.Leave(left) {
					t.Fatal("a member could not leave")
				}
				if g.Leave(left) {
					t.Fatal("a member left twice")
				}
			}
			if len(members) == 0 {
				continue
			}
			least, most := Slots, 0
			for m, n := range count(t, &g) {
				least, most = min(least, n), max(most, n)
				if n < owned[m] && n > Slots/len(members)+1 {
					t.Fatalf("%d slots were taken, %d are left", owned[m]-n, n)
				}
			}
			if most-least > 1 {
				t.Fatalf("members own %d to %d slots", least, most)
			}
			moved := 0
			for slot, m := range before {
				if m != nil && m != g.Owner(hashInSlot(slot)) {
					moved++
				}
			}
			if want := mustMove(members, owned); before[0] != nil && moved != want {
				t.Fatalf("%d slots moved, %d had to", moved, want)
			}
		}
	})
}

// mustMove is the least number of slots that can move for members to own as many as each other, or one
// more, where they owned so many before.
func mustMove(members []Member, owned map[Member]int) int {
	least, more := Slots/len(members), Slots%len(members)
	stay := 0
	for _, m := range members {
		n := owned[m]
		if n > least && more > 0 {
			more--
			stay++
		}
		stay += min(n, least)
	}
	return Slots - stay
}

// All keys belong to somebody, and each lane gets its share of them.
func TestSlotAndLaneOf(t *testing.T) {
	lanes, slots := make(map[int]int), make(map[int]int)
	const n = 1 << 16
	for i := range uint64(n) {
		hash := i * 0x9E3779B97F4A7C15
		lanes[LaneOf(hash, 7)]++
		slots[SlotOf(hash)]++
	}
	for lane := range 7 {
		if lanes[lane] < n/8 || lanes[lane] > n/6 {
			t.Errorf("lane %d has %d of %d hashes", lane, lanes[lane], n)
		}
	}
	if len(lanes) != 7 || len(slots) != Slots {
		t.Errorf("%d lanes, %d slots", len(lanes), len(slots))
	}
}

// A group is over when those who left have done with everything; the one who joins next waits for
// who left last.
func TestOver(t *testing.T) {
	var g Group
	if !g.Over() {
		t.Error("an empty group is not over")
	}
	a, b := newFakeMember(1), newFakeMember(1)
	g.Join(a)
	a.lanes[0].enter(fakeEvent{key: "k"})
	if g.Leave(b) || !g.Leave(a) || g.Over() {
		t.Error("an event waits in a member that left, and the group is over")
	}
	g.Join(b)
	if !g.Moving() || !g.MustWait(b, b.lanes[0], "k", hashOf("k"), 1) {
		t.Error("a successor does not wait")
	}
	if g.MustWait(b, b.lanes[0], "", 0, 1) {
		t.Error("an event without a key waits")
	}
	a.lanes[0].start()
	if !g.MustWait(b, b.lanes[0], "k", hashOf("k"), 1) {
		t.Error("a successor does not wait for what runs")
	}
	a.lanes[0].finish()
	if g.MustWait(b, b.lanes[0], "k", hashOf("k"), 1) || g.Moving() {
		t.Error("a successor waits for what is done")
	}
	g.Ended(a)
	g.Leave(b)
	if g.Ended(b); !g.Over() || len(g.left) != 0 {
		t.Errorf("over: %v; %d are kept", g.Over(), len(g.left))
	}
}

// Who takes a member's place has its slots, and no others move.
func TestReplace(t *testing.T) {
	var g Group
	a, b, c, d := newFakeMember(1), newFakeMember(1), newFakeMember(2), newFakeMember(1)
	for _, m := range []Member{a, b, c} {
		g.Join(m)
	}
	before := *g.ownerOfSlots()
	if !g.Replace(b, d) || g.Replace(b, d) {
		t.Error("a member is to be replaced once")
	}
	for slot, owner := range before {
		want := owner
		if owner == Member(b) {
			want = d
		}
		if got := g.Owner(hashInSlot(slot)); got != want {
			t.Fatalf("slot %d belongs to %p, want %p", slot, got, want)
		}
	}
	if g.Moving() {
		t.Error("nothing waits in the one that was replaced")
	}
	a.lanes[0].enter(fakeEvent{key: "k"})
	e := newFakeMember(1)
	if g.Replace(a, e); !g.MustWait(e, e.lanes[0], "k", hashInSlot(slices.Index(before[:], Member(a))), 1) {
		t.Error("the successor does not wait")
	}
}

func ExampleGroup() {
	var g Group
	for range 3 {
		g.Join(newFakeMember(1))
	}
	owned := make(map[Member]int)
	for slot := range Slots {
		owned[g.Owner(hashInSlot(slot))]++
	}
	for _, m := range g.Members() {
		fmt.Println(owned[m])
	}
	// Output:
	// 342
	// 341
	// 341
}
