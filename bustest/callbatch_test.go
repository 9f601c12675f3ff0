package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
)

type orderBatch = []bus.Message[order]

// modes runs f with a memory broker and in process.
func modes(t *testing.T, f func(t *testing.T, mode ...bustest.CallOption)) {
	t.Helper()
	t.Run("broker", func(t *testing.T) { f(t) })
	t.Run("in process", func(t *testing.T) { f(t, bustest.InProcess()) })
}

var fiveOrders = []order{{"a", 1}, {"b", 2}, {"a", 3}, {"c", 4}, {"d", 5}}

func TestCallBatch(t *testing.T) {
	errNo := errors.New("no")
	for name, tc := range map[string]struct {
		h    func(context.Context, orderBatch) error
		want string
	}{
		"handled": {func(context.Context, orderBatch) error { return nil }, `
batch [0 1 2]: <nil>
batch [3 4]: <nil>
event 0: handled
    attempt 1: <nil>
event 1: handled
    attempt 1: <nil>
event 2: handled
    attempt 1: <nil>
event 3: handled
    attempt 1: <nil>
event 4: handled
    attempt 1: <nil>`},
		"one of them": {func(_ context.Context, batch orderBatch) error {
			if len(batch) == 3 {
				return &bus.BatchError{Failed: []bus.IndexedError{{Index: 1, Err: errNo}}}
			}
			return bus.Discard(errNo)
		}, `
batch [0 1 2]: bus: batch: 1 events failed, the first at index 1: no
batch [3 4]: discard: no
event 0: handled
    attempt 1: <nil>
event 1: dead letter: no
    attempt 1: no
event 2: handled
    attempt 1: <nil>
event 3: discard: no
    attempt 1: discard: no
event 4: discard: no
    attempt 1: discard: no`},
		"a panic": {func(_ context.Context, batch orderBatch) error {
			if len(batch) == 2 {
				panic("ouch")
			}
			return nil
		}, `
batch [0 1 2]: <nil>
batch [3 4]: it panicked
event 0: handled
    attempt 1: <nil>
event 1: handled
    attempt 1: <nil>
event 2: handled
    attempt 1: <nil>
event 3: dead letter: panic: ouch
    attempt 1: panic: ouch
event 4: dead letter: panic: ouch
    attempt 1: panic: ouch`},
	} {
		t.Run(name, func(t *testing.T) {
			modes(t, func(t *testing.T, mode ...bustest.CallOption) {
				o := bustest.CallBatch(t, tc.h, fiveOrders, append(mode, bustest.OnTopic(orders), bustest.SubscribedBatch(bus.BatchSize(3)))...)
				requireText(t, o.String(), tc.want)
				if o.Handled() != (name == "handled") || o.Events[0].Stats.Accepted != 5 || o.Events[4].Stats.Pending() != 0 {
					t.Errorf("%v", o.Events[0].Stats)
				}
			})
		})
	}
}

// What gets another attempt comes again in a batch of its own, and its key after it.
func TestCallBatchTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		modes := [][]bustest.CallOption{nil, {bustest.InProcess()}}
		for _, mode := range modes {
			began := time.Now()
			n := 0
			o := bustest.CallBatch(t, func(_ context.Context, batch orderBatch) error {
				time.Sleep(time.Second)
				if n++; n == 1 {
					return &bus.BatchError{Failed: []bus.IndexedError{{Index: 0, Err: errors.New("no")}}}
				}
				return nil
			}, fiveOrders, append(mode, bustest.OnTopic(orders),
				bustest.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialDelay: time.Hour / 2, Jitter: -1})))...)
			if !o.Handled() || len(o.Batches) < 2 || fmt.Sprint(o.Batches[0].Events) != "[0 1 2 3 4]" || o.Batches[1].Events[0] != 0 {
				t.Fatal(o)
			}
			first := o.Events[0].Attempts
			if len(first) != 2 || first[1].Number != 2 || first[1].Began.Sub(began) != time.Hour/2+time.Second || first[0].Took != time.Second {
				t.Errorf("%+v", first)
			}
			if b := o.Batches[0]; b.Took != time.Second || !b.Began.Equal(began) {
				t.Errorf("%+v", b)
			}
			if len(o.Events[1].Attempts) != 1 || len(o.Events[2].Attempts) < 2 { // one of another key, and one of its key
				t.Error(o)
			}
		}
	})
}

// An event that reaches no handler was not handled.
func TestCallBatchLosesEvents(t *testing.T) {
	modes(t, func(t *testing.T, mode ...bustest.CallOption) {
		h := func(context.Context, orderBatch) error { return nil }
		o := bustest.CallBatch(t, h, fiveOrders, append(mode, bustest.SubscribedBatch(bus.Mailbox(2, bus.DropOldest)))...)
		for i, e := range o.Events {
			if lost := i < 3; e.Handled() == lost || errors.Is(e.Err, bustest.ErrNotHandled) != lost || len(e.Attempts) > 0 == lost {
				t.Errorf("%d: %v", i, e)
			}
		}
		requireText(t, o.Events[0].String(), "not handled")
		if o.Handled() {
			t.Error(o)
		}
		panics := func(context.Context, orderBatch) error { panic("ouch") }
		o = bustest.CallBatch(t, panics, fiveOrders, append(mode, bustest.SubscribedBatch(bus.BatchSize(1), bus.PanicBudget(0, time.Minute)))...)
		if e := o.Events[4]; e.Handled() || !errors.Is(e.Err, bustest.ErrNotHandled) || !errors.Is(e.Err, bus.ErrPanicBudget) {
			t.Error(o)
		}
		if o := bustest.CallBatch(t, h, nil, mode...); !o.Handled() || len(o.Events)+len(o.Batches) != 0 {
			t.Error(o)
		}
	})
}

func TestCallBatchRefuses(t *testing.T) {
	h := func(context.Context, orderBatch) error { return nil }
	for want, opts := range map[string][]bustest.CallOption{
		"option 0 of CallBatch is nil":                                         {nil},
		"CallBatch takes the option SubscribedBatch, and was given Subscribed": {bustest.Subscribed(bus.Lanes(2))},
		"CallBatch takes the option SubscribedBatch, and was given Spawned":    {bustest.Spawned(bus.Lanes(2))},
		`two have "x": leave bus.ID out of PublishedWith`:                      {bustest.PublishedWith(bus.ID("x"))},
		"OnTopic gives a bus.TopicConfig":                                      {bustest.OnTopic(invoices)},
		"its mailbox of 1 stayed full": {bustest.InProcess(), bustest.Within(time.Millisecond),
			bustest.SubscribedBatch(bus.Mailbox(1, bus.Block))},
	} {
		requireContains(t, failure(t, func(t testing.TB) { bustest.CallBatch(t, h, fiveOrders, opts...) }), want)
	}
	requireContains(t, failure(t, func(t testing.TB) { bustest.CallBatch(t, nil, fiveOrders) }), "handler is nil")
	requireContains(t, failure(t, func(t testing.TB) {
		bustest.Call(t, func(context.Context, order) error { return nil }, order{}, bustest.SubscribedBatch(bus.BatchSize(2)))
	}), "Call takes the option Subscribed, and was given SubscribedBatch")
}
