package redirect

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// owners is a topology.
type owners map[int]string

func (o owners) Owner(slot int) string { return o[slot] }

// noted is one redirect of the model.
type noted struct {
	to    string
	since time.Time
}

// TestTable plays any sequence of redirects, new topologies and ends of redirects. A slot is where
// the last MOVED put it that counted, or else where the topology says; and no redirect says what
// the topology says.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topology, model := owners{}, map[int]noted{}
		table := New(topology)
		now := time.Unix(1e6, 0)
		slot := func(t *rapid.T) int { return rapid.IntRange(0, 3).Draw(t, "slot") }
		addr := func(t *rapid.T, what string) string {
			return rapid.SampledFrom([]string{"", "a:1", "b:1", "c:1"}).Draw(t, what)
		}
		owner := func(slot int) string {
			if d, is := model[slot]; is {
				return d.to
			}
			return topology[slot]
		}
		ended := func(got []int, over func(noted) bool) {
			var want []int
			for slot, d := range model {
				if over(d) {
					want = append(want, slot)
					delete(model, slot)
				}
			}
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) {
				t.Fatalf("redirects of %v ended, want %v", got, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"moved": func(t *rapid.T) {
				m := Moved{Slot: slot(t), From: addr(t, "from"), To: addr(t, "to")}
				m.Target = owner(m.Slot)
				if rapid.IntRange(0, 4).Draw(t, "fallback") == 0 { // requests go to a replica of the owner
					m.Target = "r:1"
				}
				_, was := model[m.Slot]
				followed, again := table.Note(m, now)
				counts := m.To != "" && m.To != m.From && m.From == m.Target
				if followed != counts || again != (counts && was) {
					t.Fatalf("%+v: followed %v, again %v; there was a redirect: %v", m, followed, again, was)
				}
				switch {
				case !counts:
				case m.To == topology[m.Slot]:
					delete(model, m.Slot)
				default:
					model[m.Slot] = noted{m.To, now}
				}
			},
			"topology": func(t *rapid.T) {
				topology[slot(t)] = addr(t, "owner")
				table.Clear()
				clear(model)
			},
			"time": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 3).Draw(t, "passed"))) },
			"old": func(t *rapid.T) {
				age, kept := time.Duration(rapid.IntRange(0, 3).Draw(t, "age")), addr(t, "kept")
				ended(table.EndOlder(now, age, func(to string) bool { return to == kept }),
					func(d noted) bool { return now.Sub(d.since) >= age && d.to != kept })
			},
			"lost": func(t *rapid.T) {
				lost := addr(t, "lost")
				ended(table.EndTo(lost), func(d noted) bool { return d.to == lost })
			},
			"": func(t *rapid.T) {
				for i := range 4 {
					if got, want := table.Owner(i), owner(i); got != want {
						t.Fatalf("slot %d is at %q, want %q", i, got, want)
					}
				}
				for slot, d := range table.bySlot {
					if d.to == topology[slot] {
						t.Fatalf("slot %d is redirected to its owner %q", slot, d.to)
					}
				}
				if !maps.EqualFunc(table.bySlot, model, func(a redirect, b noted) bool { return a.to == b.to && a.since.Equal(b.since) }) {
					t.Fatalf("%v, want %v", table.bySlot, model)
				}
			},
		})
	})
}

// TestNote: which MOVED counts.
func TestNote(t *testing.T) {
	for _, c := range []struct {
		name     string
		m        Moved
		followed bool
		owner    string
	}{
		{"ahead of the topology", Moved{From: "a:1", To: "b:1", Target: "a:1"}, true, "b:1"},
		{"of a node that is asked no more", Moved{From: "a:1", To: "b:1", Target: "c:1"}, false, "a:1"},
		{"without an address", Moved{From: "a:1", Target: "a:1"}, false, "a:1"},
		{"to itself", Moved{From: "a:1", To: "a:1", Target: "a:1"}, false, "a:1"},
		{"what the topology says", Moved{From: "r:1", To: "a:1", Target: "r:1"}, true, "a:1"},
	} {
		table := New(owners{0: "a:1"})
		followed, again := table.Note(c.m, time.Time{})
		if got := fmt.Sprint(followed, again, table.Owner(0)); got != fmt.Sprint(c.followed, false, c.owner) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
