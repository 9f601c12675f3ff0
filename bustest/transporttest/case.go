package transporttest

import (
	"context"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
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

// Lacks names the features that the case needs and f does not claim; none: it
// is run.
func (k Case) Lacks(f Features) (features []string) {
	for _, n := range k.needs {
		if !f.has(n) {
			features = append(features, string(n))
		}
	}
	return features
}

// Run runs the case, whatever features it needs, and not in a bubble of its own.
// It may run beside others.
func (k Case) Run(t testing.TB, newBroker func(testing.TB) Broker, f Features) {
	t.Helper()
	c := &check{TB: t, rule: k.Rule, name: k.Name, features: f, id: run.name()}
	c.broker = newBroker(t)
	var cancel context.CancelFunc
	c.base, cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel) // what still waits then is what the case failed for
	// The goroutines that the transport starts inherit the label, so that they
	// can be told from those of tests beside this one.
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels(labelKey, c.id)))
	defer pprof.SetGoroutineLabels(t.Context())
	k.run(c)
}

// goroutineTimeout is for goroutines that sleep when a case in a bubble ends.
const goroutineTimeout = 10 * time.Second

// run numbers the runs of cases, so that each has topics and publishers of its
// own on a broker that several share.
var run counter

type counter struct{ n atomic.Uint64 }

func (c *counter) name() string { return strconv.FormatUint(c.n.Add(1), 36) }
