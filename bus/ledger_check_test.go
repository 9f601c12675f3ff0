package bus_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// leftIn are the numbers in an error's text.
func leftIn(err error) (abandoned, running uint64, ok bool) {
	if err == nil {
		return 0, 0, false
	}
	numbers := abandonedIn.FindStringSubmatch(err.Error())
	if numbers == nil {
		return 0, 0, false
	}
	abandoned, _ = strconv.ParseUint(numbers[1]+numbers[2], 10, 64)
	running, _ = strconv.ParseUint("0"+numbers[3], 10, 64)
	return abandoned, running, true
}

// requireLeft fails the test unless the error says that all events were left, and at most
// some of them still ran: a handler that heeds its context may have returned by then.
func requireLeft(t testing.TB, err error, all, some uint64) {
	t.Helper()
	if abandoned, running, ok := leftIn(err); !ok || abandoned+running != all || running > some {
		t.Errorf("%v; want %d events left, of which at most %d run", err, all, some)
	}
}

// agree checks that the error of an abrupt end and the ledger say the same: nothing waits
// any more, and only what still ran may have changed its place since.
func (r *record) agree(err error, subs ...*bus.Subscription) {
	var st bus.Stats
	for _, sub := range subs {
		one := sub.Stats()
		st.Queued += one.Queued
		st.Deferred += one.Deferred
		st.Abandoned += one.Abandoned
	}
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "everything") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	abandoned, running, ok := leftIn(err)
	if !ok {
		r.problem("no numbers in %v", err)
		return
	}
	if st.Queued+st.Deferred > 0 || st.Abandoned < abandoned || st.Abandoned > abandoned+running {
		r.problem("%v\nand the ledger has %d queued, %d deferred, %d abandoned", err, st.Queued, st.Deferred, st.Abandoned)
	}
}

func (c chaos) verify(r *record, subs []*bus.Subscription, whole bool) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var st bus.Stats
	var missing uint64
	for _, sub := range subs {
		one := sub.Stats()
		if !one.Balanced() || one.Pending() != 0 {
			r.problem("%s after the end: %v", sub.Name(), one)
		}
		st.Accepted += one.Accepted
		st.Handled += one.Handled
		st.Discarded += one.Discarded
		st.DeadLettered += one.DeadLettered
		st.Dropped += one.Dropped
		st.Abandoned += one.Abandoned
		for _, g := range sub.Gaps() {
			missing += g.Count
		}
	}
	if !st.Balanced() || st.Pending() != 0 {
		r.problem("after the end: %v", st)
	}
	// After a drain publishers find no subscription, and through a broker those
	// that were refused by the inbox were accepted by the broker.
	if !strings.Contains(c.ending, "drain") && !c.broker && int(st.Accepted) != r.accepted {
		r.problem("%d accepted, publishers know of %d", st.Accepted, r.accepted)
	}
	if whole && st.Abandoned > 0 {
		r.problem("an orderly end abandoned: %v", st)
	}
	for id, n := range r.handled {
		if n > 1 {
			r.problem("%s was handled %d times", id, n)
		}
	}
	if int(st.Handled) != len(r.handled) {
		r.problem("%d in the ledger were handled, the handler knows of %d", st.Handled, len(r.handled))
	}
	if (c.policy == bus.Block && !c.broker || c.policy == bus.Fail && !c.broker) && st.Dropped > 0 {
		r.problem("%v dropped: %v", c.policy, st)
	}
	if c.policy == bus.Block && missing != st.Dropped {
		r.problem("%d dropped, gaps tell of %d", st.Dropped, missing)
	}
	return r.problems
}
