package waitgraph

import (
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is the graph as its definition has it: n is in a deadlock if no sequence of ends frees it.
type model map[int][]int // who waits, and for whom; others run

// free is the nodes that go on some day: those that run, and those with one free lane to wait for.
func (m model) free(nodes int) map[int]bool {
	free := map[int]bool{}
	for grown := true; grown; {
		grown = false
		for i := range nodes {
			on, waits := m[i]
			ends := !waits
			for _, to := range on {
				ends = ends || free[to]
			}
			if ends && !free[i] {
				free[i], grown = true, true
			}
		}
	}
	return free
}

// reaches tells whether from waits, near or far, for to.
func (m model) reaches(from, to int) bool {
	seen := map[int]bool{}
	todo := m[from]
	for len(todo) > 0 {
		i := todo[0]
		todo = todo[1:]
		if i == to {
			return true
		}
		if !seen[i] {
			seen[i] = true
			todo = append(todo, m[i]...)
		}
	}
	return false
}

// Handlers begin to wait one after another, for any lanes. A handler is told of a deadlock exactly
// if nothing can free it any more, and everybody it waits for waits for it. So whenever some can't
// go on any more, one of them has been told.
func TestDeadlockedIsAKnot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 7).Draw(t, "nodes")
		lanes := make([]Node, nodes)
		taken := make([]atomic.Uint64, nodes)
		for i := range lanes {
			lanes[i].Init(taken[i].Load)
		}
		m := model{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			i := rapid.IntRange(0, nodes-1).Draw(t, "node")
			if _, waits := m[i]; waits {
				lanes[i].Finish()
				delete(m, i)
				continue
			}
			on := rapid.SliceOfNDistinct(rapid.IntRange(0, nodes-1), 1, 3, rapid.ID[int]).Draw(t, "on")
			m[i] = on
			var w *Wait
			if rapid.Bool().Draw(t, "reply") {
				var all []*Node
				for _, to := range on {
					all = append(all, &lanes[to])
				}
				w = ForReply(all)
			} else {
				w = ForRoom(len(on))
				for _, to := range on {
					w.Add(&lanes[to], taken[to].Load()+1)
				}
			}
			lanes[i].Begin(w)
			knot := !m.free(nodes)[i]
			for to := range nodes {
				knot = knot && (!m.reaches(i, to) || m.reaches(to, i))
			}
			if got := lanes[i].Deadlocked(); got != knot {
				t.Fatalf("%d in %v: deadlocked is %t, want %t", i, m, got, knot)
			}
			if knot { // it is told, and gives up
				lanes[i].Finish()
				delete(m, i)
			}
			if free := m.free(nodes); len(free) != nodes {
				t.Fatalf("nobody frees all of %v, and nobody was told", m)
			}
		}
	})
}

// A lane that has taken the event in question makes room, though its handler waits.
func TestAWaitThatIsOverIsNoDeadlock(t *testing.T) {
	for name, end := range map[string]func(taken *atomic.Uint64, w *Wait){
		"taken": func(taken *atomic.Uint64, _ *Wait) { taken.Add(1) },
		"ended": func(_ *atomic.Uint64, w *Wait) { w.End() },
	} {
		var a, b Node
		var taken atomic.Uint64
		a.Init(taken.Load)
		b.Init(taken.Load)
		first, second := ForRoom(1), ForRoom(1)
		first.Add(&b, 1)
		second.Add(&a, 1)
		a.Begin(first)
		b.Begin(second)
		if !a.Deadlocked() || !b.Deadlocked() {
			t.Errorf("%s: no deadlock before", name)
		}
		end(&taken, second)
		if a.Deadlocked() || b.Deadlocked() {
			t.Errorf("%s: a deadlock afterwards", name)
		}
	}
}

// Of handlers that close a circle at the same time at least one is told.
func TestThoseThatCloseACircleTogether(t *testing.T) {
	for range 2000 {
		const n = 3
		var lanes [n]Node
		var told atomic.Int32
		var all sync.WaitGroup
		for i := range lanes {
			all.Go(func() {
				lanes[i].Begin(ForReply([]*Node{&lanes[(i+1)%n]}))
				if lanes[i].Deadlocked() {
					told.Add(1)
				}
			})
		}
		all.Wait()
		if told.Load() == 0 {
			t.Fatal("nobody was told")
		}
	}
}
