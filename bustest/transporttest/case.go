package transporttest

import (
	"context"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// Cases returns all cases, in the order in which they run.
func Cases() []Case {
	return slices.Concat(basicCases, envelopeCases, publishCases, deliveryCases, subscribeCases, serveCases, lifeCases, healthCases, faultCases, concurrentCases, mismatchCases)
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

// Test runs the cases that f covers as subtests of t, and lists the others.
// newBroker is called once for each case; it may return the same broker each
// time, since no two cases share a topic or a publisher.
func Test(t *testing.T, newBroker func(testing.TB) Broker, f Features) {
	t.Helper()
	for _, k := range Cases() {
		if missing := k.Lacks(f); len(missing) > 0 {
			t.Logf("not run: %s, which needs %s: %s", k.Name, strings.Join(missing, " and "), k.Rule)
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			if f.Bubble {
				synctest.Test(t, func(t *testing.T) {
					// In a bubble no time passes behind the test. The first clean-up to
					// be registered is the last to run.
					t.Cleanup(func() { time.Sleep(goroutineTimeout) })
					k.Run(t, newBroker, f)
				})
				return
			}
			k.Run(t, newBroker, f)
		})
	}
}
