package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// groupMembers is members of a group, and what each of them handled.
type groupMembers struct {
	topic *bus.Topic[event]
	subs  map[string]*bus.Subscription
	got   map[string]*list[event]
	gate  chan struct{} // handlers wait for it, unless it is nil
	slow  time.Duration
}

func newGroupMembers(t testing.TB, b *bus.Bus, names ...string) *groupMembers {
	c := &groupMembers{
		topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey}),
		subs:  map[string]*bus.Subscription{}, got: map[string]*list[event]{},
	}
	for _, name := range names {
		c.addMember(t, name)
	}
	return c
}

func (c *groupMembers) addMember(t testing.TB, name string, opts ...bus.SubscribeOption) {
	t.Helper()
	got := &list[event]{}
	c.got[name] = got
	c.subs[name] = subscribe(t, c.topic, name, func(_ context.Context, e event) error {
		time.Sleep(c.slow)
		if c.gate != nil {
			<-c.gate
		}
		got.add(e)
		return nil
	}, append(opts, bus.Group("workers"))...)
}

// ownerOf is the member that handled key's events; it must be one.
func (c *groupMembers) ownerOf(t testing.TB, key string) string {
	t.Helper()
	owner := ""
	for name, got := range c.got {
		if slices.ContainsFunc(got.get(), func(e event) bool { return e.Key == key }) {
			if owner != "" {
				t.Errorf("key %s was handled by %s and by %s", key, owner, name)
			}
			owner = name
		}
	}
	return owner
}

// Each event goes to one member, those of one key to the same; others get all.
func TestGroupSharesEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		c := newGroupMembers(t, b, "a", "b", "c")
		var all list[event]
		other := subscribe(t, c.topic, "outside", func(_ context.Context, e event) error { all.add(e); return nil })
		const keys, rounds = 300, 5
		for n := range rounds {
			var batch []event
			for k := range keys {
				e := event{fmt.Sprint("k", k), n}
				if n%2 == 0 {
					publish(t, c.topic, e)
				} else {
					batch = append(batch, e)
				}
			}
			if err := c.topic.PublishBatch(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		share := map[string]int{}
		for k := range keys {
			share[c.ownerOf(t, fmt.Sprint("k", k))]++
		}
		var handled uint64
		for name, s := range c.subs {
			handled += stats(t, s).Handled
			if share[name] < keys/6 {
				t.Errorf("%s has %d of %d keys", name, share[name], keys)
			}
		}
		if handled != keys*rounds || len(all.get()) != keys*rounds || stats(t, other).Handled != keys*rounds {
			t.Errorf("%d handled in the group, %d outside", handled, len(all.get()))
		}
		if st := c.topic.Stats(); st.Subscriptions != 4 || st.Published != keys*rounds || st.Unrouted != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Events without a key go where the fewest wait, and not where handlers are paused.
func TestGroupUnkeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		c := newGroupMembers(t, b, "a", "b", "c")
		c.subs["b"].Pause()
		c.gate = make(chan struct{})
		for n := range 12 {
			publish(t, c.topic, event{"", n})
			synctest.Wait()
		}
		for name, want := range map[string]uint64{"a": 6, "b": 0, "c": 6} {
			if st := stats(t, c.subs[name]); st.Accepted != want {
				t.Errorf("%s: %v", name, st)
			}
		}
		c.subs["a"].Pause()
		c.subs["c"].Pause()
		publish(t, c.topic, event{"", 12})
		if n := stats(t, c.subs["a"]).Accepted + stats(t, c.subs["b"]).Accepted + stats(t, c.subs["c"]).Accepted; n != 13 {
			t.Errorf("%d accepted while all are paused", n)
		}
		close(c.gate)
		for _, s := range c.subs {
			s.Resume()
		}
	})
}

// With Block a publisher waits for the key's member, though others have room;
// without a key it waits until any has.
func TestGroupBlocks(t *testing.T) {
	for _, key := range []string{"k", ""} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			c := newGroupMembers(t, b)
			c.addMember(t, "a", bus.Mailbox(1, bus.Block))
			c.addMember(t, "b", bus.Mailbox(1, bus.Block))
			c.subs["a"].Pause()
			c.subs["b"].Pause()
			publish(t, c.topic, event{key, 1})
			if key == "" {
				publish(t, c.topic, event{key, 2})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			requireError(t, c.topic.Publish(ctx, event{key, 3}), context.DeadlineExceeded)
			done := make(chan error, 1)
			go func() { done <- c.topic.Publish(t.Context(), event{key, 4}) }()
			synctest.Wait()
			owner, other := "a", "b"
			if stats(t, c.subs["a"]).Accepted == 0 {
				owner, other = other, owner
			}
			if key != "" {
				c.subs[other].Resume()
				synctest.Wait()
				if len(done) > 0 {
					t.Error("a publisher did not wait for the member of its key")
				}
			}
			c.subs[owner].Resume()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A publisher that waits for room finds it with a member that joins.
func TestGroupJoinEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		c := newGroupMembers(t, b)
		c.addMember(t, "a", bus.Mailbox(1, bus.Block))
		c.subs["a"].Pause()
		publish(t, c.topic, event{"", 1})
		done := make(chan error, 1)
		go func() { done <- c.topic.Publish(t.Context(), event{"", 2}) }()
		synctest.Wait()
		c.addMember(t, "b")
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		c.got["b"].require(t, "b", event{"", 2})
	})
}

// A member that is closed in the middle gives its keys free when its handler has
// returned.
func TestGroupMemberStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var order list[string]
		bad := subscribe(t, topic, "bad", func(_ context.Context, e event) error {
			time.Sleep(time.Second)
			panic("bad")
		}, bus.Group("g"), bus.PanicBudget(0, time.Second))
		publish(t, topic, event{"k", 1}, event{"k", 2})
		synctest.Wait()
		subscribe(t, topic, "good", func(_ context.Context, e event) error {
			order.add(e.String())
			return nil
		}, bus.Group("g"))
		<-bad.Done()
		publish(t, topic, event{"k", 3})
		time.Sleep(time.Second)
		order.require(t, "good", "k3")
		if st := stats(t, bad); st.DeadLettered != 1 || st.Abandoned != 1 || !errors.Is(bad.Err(), bus.ErrPanicBudget) {
			t.Errorf("%v %v", st, bad.Err())
		}
	})
}

// Names stay unique, groups are checked, and what has no members gets nothing.
func TestGroupNames(t *testing.T) {
	b := newBus(t, bus.Config{})
	c := newGroupMembers(t, b, "a", "b")
	_, err := c.topic.Subscribe(t.Context(), "a", ignore[event], bus.Group("workers"))
	requireError(t, err, bus.ErrDuplicateSubscription)
	_, err = c.topic.Subscribe(t.Context(), "a", ignore[event])
	requireError(t, err, bus.ErrDuplicateSubscription)
	for _, name := range []string{"", "a b", "{x}"} {
		_, err = c.topic.Subscribe(t.Context(), "c", ignore[event], bus.Group(name))
		requireError(t, err, bus.ErrInvalidName)
	}
	for _, s := range c.subs {
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	}
	publish(t, c.topic, event{"k", 1})
	if st := c.topic.Stats(); st.Unrouted != 1 || st.Subscriptions != 0 {
		t.Errorf("%+v", st)
	}
	remote := newBus(t, bus.Config{Transport: memory.NewBroker().Connect()})
	_, err = newTopic(t, remote, bus.TopicConfig[event]{Name: "n"}).Subscribe(t.Context(), "a", ignore[event], bus.Group("g"))
	requireError(t, err, bus.ErrGroupTransport, "Group")
}
