package transporttest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Cases returns all cases, in the order in which they run.
func Cases() []Case {
	return slices.Concat(basicCases, envelopeCases, publishCases, deliveryCases, subscribeCases, serveCases, lifeCases, healthCases, faultCases, concurrentCases, mismatchCases, forgetCases)
}

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
