package bus_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// A member that leaves finishes what it has of a key before another starts the next
// event of it, retries included.
func TestGroupLeaveKeepsOrder(t *testing.T) {
	for _, batches := range []bool{false, true} {
		for _, policy := range []bus.Policy{bus.Block, bus.DropOldest, bus.KeepLatest} {
			t.Run(fmt.Sprint(policy, " batches ", batches), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBus(t, bus.Config{})
					topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
					var order list[string]
					addMember := func(name string) *bus.Subscription {
						failed := false
						h := func(e event) error {
							time.Sleep(time.Second)
							if name == "a" && e.N == 1 && !failed {
								failed = true
								return bus.RetryAfter(10*time.Second, errAgain)
							}
							order.add(fmt.Sprint(name, " ", e))
							return nil
						}
						if !batches {
							return subscribe(t, topic, name, func(_ context.Context, e event) error { return h(e) },
								bus.Group("g"), bus.Mailbox(100, policy))
						}
						return subscribeBatch(t, topic, name, func(_ context.Context, batch []bus.Message[event]) error {
							be := &bus.BatchError{}
							for i, m := range batch {
								if err := h(m.Value); err != nil {
									be.Failed = append(be.Failed, bus.IndexedError{Index: i, Err: err})
									break // what is behind it comes again
								}
							}
							if len(be.Failed) > 0 {
								return be
							}
							return nil
						}, bus.Group("g"), bus.Mailbox(100, policy))
					}
					first := addMember("a")
					publish(t, topic, event{"k", 1})
					time.Sleep(2 * time.Second) // it has failed once
					publish(t, topic, event{"k", 2})
					synctest.Wait()
					second := addMember("b") // half of the keys are its own from now on
					drained := make(chan error, 1)
					go func() { drained <- first.Drain(t.Context()) }()
					synctest.Wait()
					publish(t, topic, event{"k", 3}, event{"k", 4}, event{"other", 5})
					if err := <-drained; err != nil {
						t.Error(err)
					}
					if policy == bus.KeepLatest { // 3 and 4 wait behind one another for b
						publish(t, topic, event{"k", 6})
					}
					time.Sleep(time.Minute)
					got := order.get()
					want := []string{"a k1", "a k2", "b k3", "b k4"}
					if policy == bus.KeepLatest {
						want = []string{"a k1", "a k2", "b k6"}
					}
					mine := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == "b other5" })
					if policy == bus.KeepLatest && len(mine) > 0 && mine[len(mine)-1] == "b k6" {
						mine = slices.DeleteFunc(mine, func(s string) bool { return s == "b k3" || s == "b k4" })
					}
					if fmt.Sprint(mine) != fmt.Sprint(want) {
						t.Errorf("%v, want %v", got, want)
					}
					if slices.Index(got, "b other5") > slices.Index(got, "a k1") {
						t.Errorf("a key with nothing waiting waited: %v", got)
					}
					if st := stats(t, second); st.Pending() != 0 {
						t.Errorf("%v", st)
					}
				})
			})
		}
	}
}

// A new member whose predecessor left with events waiting waits for them as well.
func TestGroupSuccessorWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		c := newGroupMembers(t, b, "a")
		c.slow = time.Second
		publish(t, c.topic, event{"k", 1}, event{"k", 2})
		go c.subs["a"].Drain(t.Context())
		synctest.Wait()
		c.addMember(t, "b")
		publish(t, c.topic, event{"k", 3})
		time.Sleep(time.Second + time.Second/2)
		if st := stats(t, c.subs["b"]); st.Deferred != 1 {
			t.Errorf("%v", st)
		}
		time.Sleep(2 * time.Second)
		c.got["b"].require(t, "b", event{"k", 3})
	})
}

// No key moves but those that the member which came now has, or the one that left
// had.
func TestGroupMovesFewKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		c := newGroupMembers(t, b, "a", "b", "c")
		const keys = 600
		owners := func() map[string]string {
			for _, got := range c.got {
				got.mu.Lock()
				got.all = nil
				got.mu.Unlock()
			}
			for k := range keys {
				publish(t, c.topic, event{fmt.Sprint("k", k), 0})
			}
			time.Sleep(time.Second)
			all := map[string]string{}
			for k := range keys {
				key := fmt.Sprint("k", k)
				all[key] = c.ownerOf(t, key)
			}
			return all
		}
		before := owners()
		c.addMember(t, "d")
		with := owners()
		moved := 0
		for key, owner := range with {
			if owner != before[key] {
				moved++
				if owner != "d" {
					t.Errorf("%s moved from %s to %s", key, before[key], owner)
				}
			}
		}
		if moved < keys/8 || moved > keys*2/5 {
			t.Errorf("%d of %d keys moved", moved, keys)
		}
		if err := c.subs["a"].Drain(t.Context()); err != nil {
			t.Error(err)
		}
		for key, owner := range owners() {
			if owner != with[key] && with[key] != "a" {
				t.Errorf("%s moved from %s to %s", key, with[key], owner)
			}
		}
	})
}

// A key that comes back to a member before the other one is done with it: neither
// waits for the other for ever. Sequence to meet: a runs k1; the key goes to b, whose
// k2 awaits a; it comes back, and a's k3 awaits b; it goes to c, and so on.
func TestGroupKeyComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var order list[event]
		addMember := func(name string) *bus.Subscription {
			return subscribe(t, topic, name, func(_ context.Context, e event) error {
				time.Sleep(time.Second)
				order.add(e)
				return nil
			}, bus.Group("g"), bus.MaxDeferred(1))
		}
		members := []*bus.Subscription{addMember("first")}
		var want []event
		for n := range 24 {
			e := event{"k", n}
			want = append(want, e)
			publish(t, topic, e)
			synctest.Wait()
			switch n % 3 {
			case 0, 1:
				members = append(members, addMember(fmt.Sprint("member", n)))
			case 2:
				leaver := members[len(members)-2]
				members = slices.Delete(members, len(members)-2, len(members)-1)
				go leaver.Drain(t.Context())
			}
			time.Sleep(100 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		order.require(t, "handled", want...)
	})
}
