package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// replaced makes subscriptions of one name that note which of them handled what.
type replaced struct {
	topic *bus.Topic[event]
	order list[string]
}

func (r *replaced) handler(who string, every time.Duration) func(context.Context, event) error {
	return func(_ context.Context, e event) error {
		time.Sleep(every)
		r.order.add(fmt.Sprint(who, " ", e))
		return nil
	}
}

func replace(t testing.TB, topic *bus.Topic[event], name string, h func(context.Context, event) error, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	s, err := topic.Replace(context.Background(), name, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ended reports whether s has.
func ended(s *bus.Subscription) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// What entered before is the old one's, retries included; the new one starts what came after when
// that is done.
func TestReplaceOneLane(t *testing.T) {
	for _, opts := range [][]bus.SubscribeOption{nil, {bus.Mailbox(10, bus.DropOldest)}, {bus.Mailbox(10, bus.DropNewest)}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n"})}
			failed := false
			slow := r.handler("old", time.Second)
			old := subscribe(t, r.topic, "s", func(ctx context.Context, e event) error {
				if e.N == 1 && !failed {
					failed = true
					return bus.RetryAfter(10*time.Second, errAgain)
				}
				return slow(ctx, e)
			}, opts...)
			old.Pause()
			publish(t, r.topic, event{"", 1}, event{"", 2})
			now := replace(t, r.topic, "s", r.handler("new", 0), opts...)
			if now == old || now.Name() != "s" || r.topic.Stats().Subscriptions != 1 {
				t.Errorf("%v %v", now.Name(), r.topic.Stats())
			}
			publish(t, r.topic, event{"", 3}, event{"", 4})
			time.Sleep(5 * time.Second)
			r.order.require(t, "before the retry", "old 2")
			if st := stats(t, now); st.Queued != 2 || ended(old) {
				t.Errorf("%v; ended: %v", st, ended(old))
			}
			time.Sleep(time.Minute)
			r.order.require(t, "in all", "old 2", "old 1", "new 3", "new 4")
			if st := stats(t, old); !ended(old) || old.Err() != nil || st.Accepted != 2 || st.Handled != 2 {
				t.Errorf("%v %v", old.Err(), st)
			}
			if err := old.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			publish(t, r.topic, event{"", 5})
			synctest.Wait()
			if st := stats(t, now); st.Handled != 3 || r.topic.Stats().Unrouted != 0 {
				t.Errorf("%v %+v", st, r.topic.Stats())
			}
		})
	}
}

// With lanes a key waits for itself only, and also for those that were replaced before.
func TestReplaceWithLanes(t *testing.T) {
	for _, policy := range []bus.Policy{bus.Block, bus.DropOldest, bus.KeepLatest} {
		for _, opts := range [][]bus.SubscribeOption{{bus.Lanes(4)}, {bus.Group("g")}} {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})}
				opts = append(slices.Clone(opts), bus.Mailbox(10, policy))
				failed := false
				a := subscribe(t, r.topic, "s", func(_ context.Context, e event) error {
					if !failed {
						failed = true
						return bus.RetryAfter(10*time.Second, errAgain)
					}
					r.order.add(fmt.Sprint("a ", e))
					return nil
				}, opts...)
				publish(t, r.topic, event{"k", 1})
				synctest.Wait() // it has failed once
				second := replace(t, r.topic, "s", r.handler("b", 0), opts...)
				third := replace(t, r.topic, "s", r.handler("c", 0), opts...)
				publish(t, r.topic, event{"k", 2}, event{"other", 3})
				time.Sleep(time.Second)
				r.order.require(t, "before the retry", "c other3")
				if ended(a) || !ended(second) || ended(third) {
					t.Error("the one without events is to end, and the first is not")
				}
				publish(t, r.topic, event{"k", 4})
				time.Sleep(time.Minute)
				r.order.require(t, "in all", "c other3", "a k1", "c k2", "c k4")
				if !ended(a) || stats(t, third).Pending() != 0 {
					t.Errorf("%v", stats(t, third))
				}
			})
		}
	}
}

// One that waits for those before it is released by the last of them, also where the one between ended
// first, or has events of its own.
func TestReplaceInARow(t *testing.T) {
	for _, between := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n"})}
			subscribe(t, r.topic, "s", r.handler("a", time.Minute))
			publish(t, r.topic, event{"", 1})
			synctest.Wait()
			second := replace(t, r.topic, "s", r.handler("b", time.Minute), bus.Lanes(3))
			want := []string{"a 1", "c 3"}
			if between {
				publish(t, r.topic, event{"", 2})
				want = []string{"a 1", "b 2", "c 3"}
			}
			third := replace(t, r.topic, "s", r.handler("c", time.Minute), bus.Lanes(2))
			publish(t, r.topic, event{"", 3})
			synctest.Wait()
			if ended(second) == between {
				t.Errorf("the second has ended: %v", ended(second))
			}
			time.Sleep(time.Minute - time.Second)
			r.order.require(t, "at first")
			time.Sleep(time.Hour)
			r.order.require(t, "in all", want...)
			if !ended(second) || ended(third) {
				t.Error("the second is to end")
			}
		})
	}
}

// Members of a group are replaced one by one; each successor has the keys of its predecessor.
func TestReplaceMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		c := newGroupMembers(t, b, "a", "b", "c")
		const keys = 200
		owners := func() map[string]string {
			all := map[string]string{}
			for _, got := range c.got {
				got.mu.Lock()
				got.all = nil
				got.mu.Unlock()
			}
			for k := range keys {
				publish(t, c.topic, event{fmt.Sprint("k", k), 0})
			}
			synctest.Wait()
			for k := range keys {
				key := fmt.Sprint("k", k)
				all[key] = c.ownerOf(t, key)
			}
			return all
		}
		before := owners()
		for _, name := range []string{"a", "b"} {
			old := c.subs[name]
			got := c.got[name]
			c.subs[name] = replace(t, c.topic, name, func(_ context.Context, e event) error { got.add(e); return nil }, bus.Lanes(3))
			synctest.Wait()
			if !ended(old) {
				t.Error("the old one has not ended")
			}
		}
		for key, owner := range owners() {
			if owner != before[key] {
				t.Errorf("%s moved from %s to %s", key, before[key], owner)
			}
		}
		if st := c.topic.Stats(); st.Unrouted != 0 || st.Subscriptions != 3 {
			t.Errorf("%+v", st)
		}
	})
}

// New actors find what the old ones saved as they stopped.
func TestRespawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var mu sync.Mutex
		saved := map[string]int{}
		build := func(_ context.Context, key string) (bus.Actor[event], error) {
			mu.Lock()
			sum := saved[key]
			mu.Unlock()
			return bus.Actor[event]{
				Handle: func(_ context.Context, e event) error {
					time.Sleep(time.Second)
					sum += e.N
					return nil
				},
				Stop: func(context.Context) error {
					mu.Lock()
					saved[key] = sum
					mu.Unlock()
					return nil
				},
			}, nil
		}
		if _, err := topic.Spawn(t.Context(), "s", build, bus.Lanes(1)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			publish(t, topic, event{"k", 1}, event{"l", 2})
			time.Sleep(time.Second / 2)
			if _, err := topic.Respawn(t.Context(), "s", build, bus.Lanes(2)); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, topic, event{"k", 1}, event{"l", 2})
		shutdown(t, b)
		mu.Lock()
		defer mu.Unlock()
		if saved["k"] != 4 || saved["l"] != 8 {
			t.Error(saved)
		}
	})
}

// The forms for messages and batches take over from each other.
func TestReplaceForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})}
		subscribe(t, r.topic, "s", r.handler("single", time.Second))
		publish(t, r.topic, event{"k", 1}, event{"k", 2})
		if _, err := r.topic.ReplaceBatch(t.Context(), "s", func(_ context.Context, batch []bus.Message[event]) error {
			time.Sleep(time.Second)
			for _, m := range batch {
				r.order.add(fmt.Sprint("batch ", m.Value))
			}
			return nil
		}, bus.Lanes(2)); err != nil {
			t.Fatal(err)
		}
		publish(t, r.topic, event{"k", 3}, event{"k", 4})
		if _, err := r.topic.ReplaceMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
			r.order.add(fmt.Sprint("message ", m.Value, m.Key))
			return nil
		}, bus.Lanes(2)); err != nil {
			t.Fatal(err)
		}
		publish(t, r.topic, event{"k", 5})
		time.Sleep(time.Minute)
		r.order.require(t, "in all", "single k1", "single k2", "batch k3", "batch k4", "message k5k")
	})
}

// Publishers that wait for the old one's room find that of the new one; the old one's handlers may
// publish; and one that would wait for itself is told so.
func TestReplaceWakesPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n"})}
		var inside []error
		slow := r.handler("old", time.Minute)
		subscribe(t, r.topic, "s", func(ctx context.Context, e event) error {
			if err := slow(ctx, e); e.N > 1 {
				return err
			}
			for n := range 2 {
				inside = append(inside, r.topic.Publish(ctx, event{"", 10 + n}))
			}
			return nil
		}, bus.Mailbox(1, bus.Block))
		publish(t, r.topic, event{"", 1})
		synctest.Wait()
		publish(t, r.topic, event{"", 2})
		waiting := make(chan error, 1)
		go func() { waiting <- r.topic.Publish(context.Background(), event{"", 3}) }()
		synctest.Wait()
		replace(t, r.topic, "s", r.handler("new", 0), bus.Mailbox(2, bus.Block))
		synctest.Wait()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(inside) != 2 || inside[0] != nil || !errors.Is(inside[1], bus.ErrWouldDeadlock) {
			t.Errorf("%v", inside)
		}
		r.order.require(t, "in all", "old 1", "old 2", "new 3", "new 10")
	})
}

// A handler that replaces its own subscription goes on; one that asks its successor is told so.
func TestReplaceFromItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[bus.Request[int, int]]{Name: "n"})
		var asked error
		subscribe(t, topic, "s", bus.Answer(func(ctx context.Context, n int) (int, error) {
			_, err := topic.Replace(ctx, "s", bus.Answer(func(_ context.Context, n int) (int, error) { return 2 * n, nil }))
			if err != nil {
				return 0, err
			}
			_, asked = bus.Ask(ctx, topic, n)
			return n, nil
		}))
		for _, want := range []int{5, 10} {
			if n, err := bus.Ask(t.Context(), topic, 5); n != want || err != nil {
				t.Errorf("%d, %v, want %d", n, err, want)
			}
		}
		if !errors.Is(asked, bus.ErrWouldDeadlock) {
			t.Error(asked)
		}
	})
}
