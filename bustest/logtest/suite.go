package logtest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// Cases returns all cases, in the order in which they run.
func Cases() []Case {
	return slices.Concat(openCases, appendCases, publisherCases, idCases, dueCases, consumeCases, sharedCases, sinkCases, fetchCases, beginCases, commitCases,
		derivedCases, releaseCases, letterCases, seekCases, positionCases, retainCases, lifeCases)
}

// Test runs the cases that f covers as subtests of t, and lists the others. newStore is called once
// for each case; it may return the same store each time, since no two cases share a topic.
func Test(t *testing.T, newStore func(testing.TB) Store, f Features) {
	t.Helper()
	for _, k := range Cases() {
		if missing := k.Lacks(f); len(missing) > 0 {
			t.Logf("not run: %s, which needs %s: %s", k.Name, strings.Join(missing, " and "), k.Rule)
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			if f.Bubble {
				synctest.Test(t, func(t *testing.T) { k.Run(t, newStore, f) })
				return
			}
			k.Run(t, newStore, f)
		})
	}
}
