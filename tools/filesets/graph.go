package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ref is what one file uses of another one.
type ref struct {
	from, to string
	count    int
	uses     map[string]int // how often, by the name of what is used
}

// describe names what is used, the most used first, and at most limit of it.
func (r ref) describe(limit int) string {
	names := slices.SortedFunc(maps.Keys(r.uses), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.uses[b], r.uses[a]), cmp.Compare(a, b))
	})
	if len(names) > limit {
		names = append(names[:limit:limit], fmt.Sprintf("and %d more", len(names)-limit))
	}
	return strings.Join(names, ", ")
}

// graph is who refers to whom: from file, to file.
type graph map[string]map[string]ref

// add counts one use.
func (g graph) add(from, to, name string) {
	if from == to {
		return
	}
	if g[from] == nil {
		g[from] = make(map[string]ref)
	}
	r, ok := g[from][to]
	if !ok {
		r = ref{from: from, to: to, uses: make(map[string]int)}
	}
	r.count++
	r.uses[name]++
	g[from][to] = r
}

// largestSet is the largest set of files that all reach each other, sorted; none if there are no two such files. Of sets
// of one size it is the first by name.
func (g graph) largestSet() (largest []string) {
	for _, set := range g.components() {
		slices.Sort(set)
		if len(set) > 1 && (len(set) > len(largest) || len(set) == len(largest) && slices.Compare(set, largest) < 0) {
			largest = set
		}
	}
	return largest
}

// components are the strongly connected components, by Tarjan's algorithm (Depth-first search and linear graph algorithms,
// 1972).
func (g graph) components() (found [][]string) {
	index, low := make(map[string]int), make(map[string]int)
	var stack []string
	onStack := make(map[string]bool)
	var visit func(v string)
	visit = func(v string) {
		index[v] = len(index) + 1
		low[v] = index[v]
		stack = append(stack, v)
		onStack[v] = true
		for w := range g[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if onStack[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		i := slices.Index(stack, v)
		set := slices.Clone(stack[i:])
		stack = stack[:i]
		for _, w := range set {
			onStack[w] = false
		}
		found = append(found, set)
	}
	for v := range g {
		if index[v] == 0 {
			visit(v)
		}
	}
	return found
}

// inside are the references between files of a set, the rarest first.
func (g graph) inside(set []string) (refs []ref) {
	for _, from := range set {
		for to, r := range g[from] {
			if slices.Contains(set, to) {
				refs = append(refs, r)
			}
		}
	}
	slices.SortFunc(refs, func(a, b ref) int {
		return cmp.Or(cmp.Compare(a.count, b.count), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return refs
}

// toCut are references without which no two files of a set reach each other: few of them, though not always the fewest. It
// puts the files in an order in which most references point forward (Eades, Lin, Smyth: A fast and effective heuristic for
// the feedback arc set problem, 1993), and returns those that point back.
func (g graph) toCut(set []string) (refs []ref) {
	inside := g.inside(set)
	place := make(map[string]int)
	left := slices.Clone(set)
	for front, back := 0, len(set); len(left) > 0; {
		uses, used := make(map[string]int), make(map[string]int)
		for _, r := range inside {
			if slices.Contains(left, r.from) && slices.Contains(left, r.to) {
				uses[r.from] += r.count
				used[r.to] += r.count
			}
		}
		next := slices.MinFunc(left, func(a, b string) int { return rank(uses[a], used[a]) - rank(uses[b], used[b]) })
		if uses[next] == 0 {
			back--
			place[next] = back
		} else {
			place[next] = front
			front++
		}
		left = slices.DeleteFunc(left, func(v string) bool { return v == next })
	}
	for _, r := range inside {
		if place[r.from] > place[r.to] {
			refs = append(refs, r)
		}
	}
	return refs
}

// rank says how early toCut places a file: what uses nothing, what nothing uses, and then what uses most more than it is
// used.
func rank(uses, used int) int {
	switch {
	case uses == 0:
		return -1 << 40
	case used == 0:
		return -1 << 39
	default:
		return used - uses
	}
}
