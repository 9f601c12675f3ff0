package bustest_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest"
)

// A thousand buses at once in one test binary, each with subscriptions, dead letters
// and faults of its own. None sees another's, and all are closed clean.
func TestAThousandBuses(t *testing.T) {
	var open, all sync.WaitGroup
	open.Add(1000)
	busy := make(chan struct{}, 16) // tests that run at once; the buses are all there
	for range 1000 {
		all.Go(func() {
			ft := &fakeT{TB: t}
			b := bustest.New(ft, bustest.WaitTimeout(time.Minute))
			open.Done()
			open.Wait() // for the last to be there
			busy <- struct{}{}
			defer func() { <-busy }()
			defer func() {
				if r := recover(); r != nil && r != any(ft) {
					panic(r)
				}
				if text := ft.finish(); text != "" {
					t.Errorf("%s", text)
				}
			}()
			lifeOfABus(ft, b)
		})
	}
	all.Wait()
}

// In bubbles, in parallel tests.
func TestBusesInManyBubbles(t *testing.T) {
	for range 200 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { lifeOfABus(t, bustest.New(t)) })
		})
	}
}

// lifeOfABus does a little of everything.
func lifeOfABus(t testing.TB, b *bustest.Bus) {
	billing(t, b)
	b.Delay("invoices", 1, time.Millisecond)
	publish(t, b, "1", "2")
	if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "free"}); err != nil {
		t.Error(err)
	}
	bustest.WaitIdle(t, b)
	bustest.RequirePublishedOnce(t, b, invoices, bustest.Value(invoice{"1"}))
	bustest.RequireDeadLettered(t, b, orders, "billing", bustest.Key[order]("free"))
	if got := bustest.Handled(t, b, orders, "billing"); ids(got) != "1 2" {
		t.Errorf("%q", ids(got))
	}
}
