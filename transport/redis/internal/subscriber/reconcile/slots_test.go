package reconcile

import (
	"maps"
	"slices"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"pgregory.net/rapid"
)

// someSlots are few, so that lists get long, with those at the ends of words and pages.
var someSlots = []int{0, 1, 63, 64, 255, 256, 257, 8191, router.Slots - 1}

// TestSlotSet: it is a set.
func TestSlotSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := make(map[int]bool)
		set := new(slotSet)
		for _, slot := range rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(someSlots), rapid.IntRange(0, router.Slots-1))).Draw(t, "slots") {
			set.add(slot)
			want[slot] = true
		}
		if got := slices.Collect(set.all()); !slices.Equal(got, slices.Sorted(maps.Keys(want))) || set.len() != len(want) {
			t.Fatalf("%v, %d of them; want %v", got, set.len(), want)
		}
		for range set.all() {
			break // is heeded
		}
	})
	var none *slotSet
	if got := slices.Collect(none.all()); len(got) > 0 || none.len() != 0 {
		t.Errorf("%v in none", got)
	}
}

// TestSlotLists: each slot has what was added and not removed, the watermarks first, and who goes through a list is not
// led astray by what is removed meanwhile.
func TestSlotLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists slotLists
		want := make(map[int][]*Channel)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				slot := rapid.SampledFrom(someSlots).Draw(t, "slot")
				ch := &Channel{
					slot: uint16(slot), kind: rapid.SampledFrom([]Kind{Event, Baseline}).Draw(t, "kind"),
					class: connkey.Class(rapid.IntRange(0, 2).Draw(t, "class")),
				}
				if lists.watermarks(slot, ch.class) == nil && rapid.Bool().Draw(t, "watermarks") {
					ch.kind = Watermark
				}
				lists.add(ch)
				want[slot] = append(want[slot], ch)
			},
			"remove": func(t *rapid.T) {
				slot := rapid.SampledFrom(someSlots).Draw(t, "slot")
				all := want[slot]
				if len(all) == 0 {
					lists.remove(&Channel{slot: uint16(slot)})
					return
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				seen := 0
				for ch := lists.first(slot); ch != nil; ch = ch.next {
					if seen++; ch == all[i] {
						lists.remove(ch)
					}
				}
				if seen != len(all) {
					t.Fatalf("%d of %d were seen", seen, len(all))
				}
				want[slot] = slices.Delete(all, i, i+1)
			},
			"": func(t *rapid.T) {
				used := slices.Sorted(lists.slots())
				for _, slot := range someSlots {
					var got []*Channel
					classes := make(map[connkey.Class]bool)
					for ch := lists.first(slot); ch != nil; ch = ch.next {
						if ch.kind == Watermark && (len(got) > 0 && got[len(got)-1].kind != Watermark || lists.watermarks(slot, ch.class) != ch) {
							t.Fatalf("the watermarks of %d are not first", slot)
						}
						classes[ch.class] = true
						got = append(got, ch)
					}
					if len(got) != len(want[slot]) || slices.Contains(used, slot) != (len(got) > 0) {
						t.Fatalf("slot %d has %d channels, want %d; used %v", slot, len(got), len(want[slot]), used)
					}
					for class := range connkey.Class(3) {
						if lists.has(slot, class) != classes[class] {
							t.Fatalf("slot %d has class %d: %v", slot, class, classes[class])
						}
					}
					for _, ch := range want[slot] {
						if !slices.Contains(got, ch) {
							t.Fatalf("a channel of %d is missing", slot)
						}
					}
				}
			},
		})
	})
}

func sessionAt(addr string) *Session { return &Session{Key: connkey.Key{Addr: addr}} }

// TestReplicaList: of each connection there is one at most, with the state that was noted last.
func TestReplicaList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sessions := []*Session{sessionAt("a"), sessionAt("b"), sessionAt("c"), sessionAt("d")}
		ch, want := new(Channel), make(map[*Session]replicaState)
		t.Repeat(map[string]func(*rapid.T){
			"note": func(t *rapid.T) {
				f := rapid.SampledFrom(sessions).Draw(t, "feed")
				state := rapid.SampledFrom([]replicaState{replicaPending, replicaConfirmed, replicaLeaving}).Draw(t, "state")
				ch.setReplica(f, state)
				want[f] = state
			},
			"drop": func(t *rapid.T) {
				f := rapid.SampledFrom(sessions).Draw(t, "feed")
				ch.dropReplica(f)
				delete(want, f)
			},
			"drop some": func(t *rapid.T) {
				some := rapid.SliceOfDistinct(rapid.SampledFrom(sessions), func(f *Session) string { return f.Addr }).Draw(t, "feeds")
				ch.dropReplicas(func(c *replicaSub) bool { return slices.Contains(some, c.session) })
				for _, f := range some {
					delete(want, f)
				}
			},
			"": func(t *rapid.T) {
				n := 0
				for c := ch.replicas; c != nil; c = c.next {
					n++
				}
				for _, f := range sessions {
					state, copied := want[f]
					if c := ch.replicaOn(f); (c != nil) != copied || copied && c.state != state {
						t.Fatalf("%s: %v, want %v %v", f.Addr, c, copied, state)
					}
				}
				if n != len(want) || ch.Unsubscribed() != (n == 0) {
					t.Fatalf("%d copies, want %d", n, len(want))
				}
			},
		})
	})
}
