package logtest

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
)

// Case checks one rule.
type Case struct {
	// Name is that of the subtest.
	Name string
	// Rule is the sentence of the contract that it checks.
	Rule string

	needs []need
	run   func(*check)
}

// Lacks names the features that the case needs and f does not claim; none: it is run.
func (k Case) Lacks(f Features) (features []string) {
	for _, n := range k.needs {
		if !f.has(n) {
			features = append(features, string(n))
		}
	}
	return features
}

// Run runs the case, whatever features it needs, and not in a bubble of its own. It may run beside
// others.
func (k Case) Run(t testing.TB, newStore func(testing.TB) Store, f Features) {
	t.Helper()
	c := &check{TB: t, rule: k.Rule, name: k.Name, features: f, id: strconv.FormatUint(runs.Add(1), 36)}
	c.store = newStore(t)
	var cancel context.CancelFunc
	c.base, cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel) // what still waits then is what the case failed for
	k.run(c)
}

// runs numbers the runs of cases, so that each has topics of its own.
var runs atomic.Uint64
