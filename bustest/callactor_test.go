package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// ledgerOf builds actors that add up the cents of their key into sums when they stop. One of a key
// named bad can't be built twice; an order of no cents panics, and one of less is refused.
func ledgerOf(sums map[string][]int) func(context.Context, string) (bus.Actor[order], error) {
	tries := 0
	return func(_ context.Context, key string) (bus.Actor[order], error) {
		if tries++; key == "bad" && tries <= 2 {
			return bus.Actor[order]{}, errors.New("no database")
		}
		sum := 0
		return bus.Actor[order]{
			Handle: func(_ context.Context, o order) error {
				switch {
				case o.Cents == 0:
					panic("nothing")
				case o.Cents < 0:
					return errNothingToPay
				}
				sum += o.Cents
				return nil
			},
			Stop: func(context.Context) error {
				sums[key] = append(sums[key], sum)
				if key == "b" {
					return errors.New("disk is full")
				}
				return nil
			},
		}, nil
	}
}

func TestCallActor(t *testing.T) {
	modes := [][]bustest.CallOption{nil, {bustest.InProcess()}}
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range modes {
			sums := make(map[string][]int)
			o := bustest.CallActor(t, ledgerOf(sums), []order{{"a", 1}, {"b", 2}, {"a", 3}, {"b", -1}, {"a", 5}},
				append(mode, bustest.OnTopic(orders))...)
			requireText(t, o.String(), `
actor "a": events [0 2 4], stopped
actor "b": events [1 3], stopped: disk is full
event 0: handled
    attempt 1: <nil>
event 1: handled
    attempt 1: <nil>
event 2: handled
    attempt 1: <nil>
event 3: dead letter: nothing to pay
    attempt 1: nothing to pay
event 4: handled
    attempt 1: <nil>`)
			if fmt.Sprint(sums) != "map[a:[9] b:[2]]" || o.Handled() || o.Events[0].Stats.Handled != 4 {
				t.Error(sums, o.Events[0].Stats)
			}
		}
	})
}

// An actor that panics loses its state; one that can't be built is tried again.
func TestCallActorBuildsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sums := make(map[string][]int)
		o := bustest.CallActor(t, ledgerOf(sums), []order{{"bad", 1}, {"bad", 2}}, bustest.OnTopic(orders), bustest.InProcess())
		if len(o.Actors) != 3 || o.Actors[0].BuildErr == nil || o.Actors[1].Stopped || fmt.Sprint(o.Actors[2].Events) != "[0 1]" ||
			len(o.Events[0].Attempts) != 3 || !o.Handled() || fmt.Sprint(sums) != "map[bad:[3]]" {
			t.Error(o, sums)
		}
		requireContains(t, o.String(), `actor "bad": events [], not built: no database`)

		sums = make(map[string][]int)
		o = bustest.CallActor(t, ledgerOf(sums), []order{{"a", 1}, {"a", 0}, {"a", 2}}, bustest.OnTopic(orders), bustest.Within(24*time.Hour))
		if len(o.Actors) != 6 || fmt.Sprint(o.Actors[0].Events) != "[0 1]" || o.Actors[0].Stopped || !o.Actors[5].Stopped ||
			len(o.Events[1].Attempts) != 5 || o.Events[1].Action != bus.ActionDeadLetter || !o.Events[2].Handled() || fmt.Sprint(sums) != "map[a:[2]]" {
			t.Error(o, sums)
		}
	})
}

func TestCallActorPassivates(t *testing.T) {
	sums := make(map[string][]int)
	o := bustest.CallActor(t, ledgerOf(sums), []order{{"a", 1}, {"b", 2}, {"a", 3}}, bustest.OnTopic(orders), bustest.Spawned(bus.MaxActors(1)))
	if len(o.Actors) != 3 || fmt.Sprint(sums) != "map[a:[1 3] b:[2]]" || !o.Handled() {
		t.Error(o, sums)
	}
}

func TestCallActorRefuses(t *testing.T) {
	build := ledgerOf(nil)
	for want, opts := range map[string][]bustest.CallOption{
		"option 0 of CallActor is nil":                                 {nil},
		"CallActor takes the option Spawned, and was given Subscribed": {bustest.Subscribed(bus.Lanes(2))},
		"keyed actors need TopicConfig.Key":                            nil,
	} {
		requireContains(t, failure(t, func(t testing.TB) { bustest.CallActor(t, build, []order{{"a", 1}}, opts...) }), want)
	}
	requireContains(t, failure(t, func(t testing.TB) { bustest.CallActor(t, nil, []order{{"a", 1}}, bustest.OnTopic(orders)) }), "handler is nil")
	o := bustest.CallActor(t, func(context.Context, string) (bus.Actor[order], error) {
		return bus.Actor[order]{}, bus.Discard(errNothingToPay)
	},
		[]order{{"a", 1}}, bustest.OnTopic(orders))
	if o.Events[0].Action != bus.ActionDiscard || !strings.Contains(o.String(), "not built") {
		t.Error(o)
	}
}
