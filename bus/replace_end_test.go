package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

func TestReplaceErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		plain := newTopic(t, b, bus.TopicConfig[int]{Name: "plain"})
		subscribe(t, topic, "s", ignore[event])
		member := subscribe(t, topic, "member", ignore[event], bus.Group("g"))
		build := func(context.Context, string) (bus.Actor[event], error) {
			return bus.Actor[event]{Handle: ignore[event]}, nil
		}
		batch := func(context.Context, []bus.Message[event]) error { return nil }
		ctx := t.Context()
		for what, f := range map[string]struct {
			want error
			call func() (*bus.Subscription, error)
		}{
			"name":         {bus.ErrNotSubscribed, func() (*bus.Subscription, error) { return topic.Replace(ctx, "t", ignore[event]) }},
			"handler":      {bus.ErrNilHandler, func() (*bus.Subscription, error) { return topic.Replace(ctx, "s", nil) }},
			"message":      {bus.ErrNilHandler, func() (*bus.Subscription, error) { return topic.ReplaceMessage(ctx, "s", nil) }},
			"batch":        {bus.ErrNilHandler, func() (*bus.Subscription, error) { return topic.ReplaceBatch(ctx, "s", nil) }},
			"build":        {bus.ErrNilHandler, func() (*bus.Subscription, error) { return topic.Respawn(ctx, "s", nil) }},
			"context":      {bus.ErrNilContext, func() (*bus.Subscription, error) { return topic.Replace(noContext, "s", ignore[event]) }},
			"lanes":        {bus.ErrInvalidConfig, func() (*bus.Subscription, error) { return topic.Replace(ctx, "s", ignore[event], bus.Lanes(0)) }},
			"into a group": {bus.ErrInvalidConfig, func() (*bus.Subscription, error) { return topic.Replace(ctx, "s", ignore[event], bus.Group("g")) }},
			"other group":  {bus.ErrInvalidConfig, func() (*bus.Subscription, error) { return topic.ReplaceBatch(ctx, "member", batch, bus.Group("h")) }},
			"actors":       {bus.ErrInvalidConfig, func() (*bus.Subscription, error) { return topic.Respawn(ctx, "member", build) }},
		} {
			s, err := f.call()
			if s != nil || !errors.Is(err, f.want) {
				t.Errorf("%s: %v, %v", what, s, err)
				continue
			}
			requireError(t, err, f.want, "replace n", "subscription")
		}
		subscribe(t, plain, "s", ignore[int])
		if _, err := plain.Replace(ctx, "s", ignore[int], bus.Mailbox(5, bus.KeepLatest)); !errors.Is(err, bus.ErrNoKey) {
			t.Error(err)
		}
		if st := topic.Stats(); st.Subscriptions != 2 {
			t.Errorf("%+v", st)
		}
		member.Stop()
		if _, err := topic.Replace(ctx, "member", ignore[event]); !errors.Is(err, bus.ErrNotSubscribed) {
			t.Error(err)
		}
		shutdown(t, b)
		if _, err := topic.Replace(ctx, "s", ignore[event]); !errors.Is(err, bus.ErrNotSubscribed) && !errors.Is(err, bus.ErrClosed) {
			t.Error(err)
		}
	})
}

// An old one that panics too often is stopped as ever, and what it abandons is its own; the bus is well,
// since the new one has its name. Its dead letters can't be replayed by it.
func TestReplaceAndPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})}
		old := subscribe(t, r.topic, "s", func(_ context.Context, e event) error {
			if e.N == 0 {
				return bus.DeadLetter(errAgain)
			}
			time.Sleep(time.Second)
			panic("no")
		}, bus.PanicBudget(0, time.Second))
		publish(t, r.topic, event{"k", 0}, event{"k", 1}, event{"k", 2})
		synctest.Wait()
		letters := old.DeadLetters()
		now := replace(t, r.topic, "s", r.handler("new", 0))
		publish(t, r.topic, event{"k", 3})
		if len(letters) != 1 {
			t.Fatal(letters)
		}
		if err := func() error { _, err := old.Replay(t.Context(), nil); return err }(); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("replay: %v", err)
		}
		time.Sleep(time.Minute)
		if st := stats(t, old); !ended(old) || !errors.Is(old.Err(), bus.ErrPanicBudget) || st.Abandoned != 1 || st.DeadLettered != 2 {
			t.Errorf("%v %v", old.Err(), st)
		}
		r.order.require(t, "new", "new k3")
		if h := b.Health(); len(h.Stopped) > 0 || stats(t, now).Handled != 1 {
			t.Errorf("%+v", h)
		}
	})
}

// What is replaced before Start, or ended abruptly while it waits for others.
func TestReplaceAndTheEnds(t *testing.T) {
	for _, end := range []string{"close", "hasty shutdown", "shutdown", "stop", "drain", "drain old"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{Hold: true, Grace: time.Hour})
			r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n"})}
			first := subscribe(t, r.topic, "s", r.handler("first", 0))
			old := replace(t, r.topic, "s", r.handler("old", time.Second))
			synctest.Wait()
			if !ended(first) {
				t.Error("one without events, on a bus that is held, is to end at once")
			}
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			publish(t, r.topic, event{"", 1}, event{"", 2})
			now := replace(t, r.topic, "s", r.handler("new", time.Second))
			publish(t, r.topic, event{"", 3}, event{"", 4})
			synctest.Wait()
			hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			whole := []string{"old 1", "old 2", "new 3", "new 4"}
			var want []string
			switch end {
			case "close":
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				want = whole[:1]
			case "hasty shutdown":
				if err := b.Shutdown(hasty); !errors.Is(err, context.DeadlineExceeded) || strings.Count(err.Error(), "n/s") != 2 {
					t.Error(err)
				}
				want = whole[:1]
			case "shutdown":
				shutdown(t, b)
				want = whole
			case "stop":
				now.Stop()
				want = whole[:2]
			case "drain":
				if err := now.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				want = whole
			case "drain old":
				if err := old.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				r.order.require(t, end, whole[:2]...)
				want = whole
			}
			time.Sleep(time.Minute)
			r.order.require(t, end, want...)
			if st := stats(t, now); !ended(old) || ended(now) == (end == "drain old") || st.Handled+st.Abandoned != 2 || st.Pending() != 0 {
				t.Errorf("%s: %v", end, st)
			}
		})
	}
}
