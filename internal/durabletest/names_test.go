package durabletest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// One of several that subscribe under one name at once has it. So it is when the last holder of the name
// ends meanwhile.
func TestOneOfSeveralHasTheName(t *testing.T) {
	for _, how := range []string{"new", "stopped", "drained"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, memory.NewLog())
				topic := orders(t, b, 3)
				got := make(recorder, 1000)
				var ending sync.WaitGroup
				if how != "new" {
					before := got.subscribe(t, topic, "billing")
					publish(t, topic, 0, 5)
					synctest.Wait()
					ending.Go(func() {
						if how == "stopped" {
							before.Stop()
						} else if err := before.Drain(t.Context()); err != nil {
							t.Error(err)
						}
						<-before.Done()
					})
				}
				var mu sync.Mutex
				var won []*bus.Subscription
				for range 8 {
					ending.Go(func() {
						time.Sleep(time.Millisecond)
						sub, err := topic.SubscribeMessage(t.Context(), "billing", got.handle, bus.From(bus.Earliest()))
						mu.Lock()
						defer mu.Unlock()
						switch {
						case err == nil:
							won = append(won, sub)
						case !errors.Is(err, bus.ErrDuplicateSubscription):
							t.Error(err)
						}
					})
				}
				ending.Wait()
				if len(won) != 1 {
					t.Fatalf("%d have the name", len(won))
				}
				publish(t, topic, 5, 5)
				settle()
				seen := make(map[int]bool)
				for len(got) > 0 {
					seen[(<-got).Value.N] = true
				}
				if want := map[bool]int{true: 5, false: 10}[how == "new"]; len(seen) != want {
					t.Errorf("%d were handled, want %d", len(seen), want)
				}
				stop()
				checkEnd(t, won[0])
			})
		})
	}
}

// A group and a subscription without one can't have one name, on one bus or on two: they would read each
// other's events away. A member may be called what it likes.
func TestGroupNamedAsASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		b, stop := start(t, log)
		other, stopOther := start(t, log.Connect())
		topic, theirs := orders(t, b, 2), orders(t, other, 2)
		got := make(recorder, 100)
		subscribe := func(topic *bus.Topic[order], name string, opts ...bus.SubscribeOption) error {
			_, err := topic.SubscribeMessage(t.Context(), name, got.handle, append(opts, bus.From(bus.Earliest()))...)
			return err
		}
		got.subscribe(t, topic, "billing")
		got.subscribe(t, topic, "one", bus.Group("mailers"))
		for _, of := range []struct {
			what  string
			topic *bus.Topic[order]
			name  string
			opts  []bus.SubscribeOption
			want  error
		}{
			{"a group, here", topic, "two", []bus.SubscribeOption{bus.Group("billing")}, bus.ErrDuplicateSubscription},
			{"a subscription, here", topic, "mailers", nil, bus.ErrDuplicateSubscription},
			{"a group, elsewhere", theirs, "two", []bus.SubscribeOption{bus.Group("billing")}, transport.ErrInUse},
			{"a subscription, elsewhere", theirs, "mailers", nil, transport.ErrInUse},
		} {
			if err := subscribe(of.topic, of.name, of.opts...); !errors.Is(err, of.want) {
				t.Errorf("%s: %v", of.what, err)
			}
		}
		// What was refused has left nothing behind.
		if err := subscribe(topic, "two", bus.Group("mailers")); err != nil {
			t.Error(err)
		}
		if err := subscribe(theirs, "billing-of-mailers", bus.Group("mailers")); err != nil {
			t.Error(err)
		}
		if err := subscribe(theirs, "billing"); err != nil { // on standby
			t.Error(err)
		}
		for i := range 20 {
			if err := topic.Publish(t.Context(), order{fmt.Sprint(i), i}); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		if len(got) != 40 {
			t.Errorf("%d were handled", len(got))
		}
		stop()
		settle()
		stopOther()
	})
}
