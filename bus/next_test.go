package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// TestNext: it returns the first event that matches, and leaves nothing behind.
func TestNext(t *testing.T) {
	for name, cfg := range map[string]bus.Config{
		"in process": {}, "transport": {Transport: memory.NewBroker().Connect()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, cfg)
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				publishAll := func(ctx context.Context) error {
					return topic.PublishBatch(ctx, []event{{"a", 1}, {"b", 2}, {"b", 3}}, bus.Header("h", "v"))
				}
				m, err := topic.NextAfter(t.Context(), func(m bus.Message[event]) bool { return m.Key == "b" }, publishAll)
				if err != nil || m.Value != (event{"b", 2}) || m.Headers.Get("h") != "v" || m.Topic != "n" {
					t.Errorf("%+v, %v", m, err)
				}
				m, err = topic.NextAfter(t.Context(), nil, publishAll)
				if err != nil || m.Value != (event{"a", 1}) {
					t.Errorf("%+v, %v", m, err)
				}
				go func() {
					time.Sleep(time.Second)
					publish(t, topic, event{"c", 4})
				}()
				if m, err = topic.Next(t.Context(), nil); err != nil || m.Value != (event{"c", 4}) {
					t.Errorf("%+v, %v", m, err)
				}
				synctest.Wait()
				for s := range b.Subscriptions() {
					t.Errorf("%s/%s is left", s.Topic(), s.Name())
				}
				shutdown(t, b)
			})
		})
	}
}

// TestNextInVain: who waits in vain is told why: its context, its own function, the end of the bus, a match that panics.
func TestNextInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := topic.Next(ctx, nil)
		requireError(t, err, context.DeadlineExceeded, "wait for the next event n")
		refused := errors.New("refused")
		if _, err = topic.NextAfter(t.Context(), nil, func(context.Context) error { return refused }); !errors.Is(err, refused) {
			t.Error(err)
		}
		_, err = topic.NextAfter(t.Context(), func(bus.Message[int]) bool { panic("of match") }, func(ctx context.Context) error { return topic.Publish(ctx, 1) })
		requireError(t, err, bus.ErrPanicBudget, "of match")
		_, err = topic.Next(noContext, nil)
		requireError(t, err, bus.ErrNilContext)
		go func() {
			time.Sleep(time.Second)
			shutdown(t, b)
		}()
		_, err = topic.Next(t.Context(), nil)
		requireError(t, err, bus.ErrClosed)
		_, err = topic.Next(t.Context(), nil)
		requireError(t, err, bus.ErrClosed)
	})
}

// TestStop: what waits is abandoned, the running handler's context ends, and nothing of it waits for anybody.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		sub := subscribe(t, topic, "s", func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return nil
		})
		for n := range 5 {
			publish(t, topic, n)
		}
		synctest.Wait()
		sub.Stop()
		sub.Stop()
		<-sub.Done()
		if st := stats(t, sub); st.Handled != 1 || st.Abandoned != 4 {
			t.Errorf("%v", st)
		}
		if err := sub.Err(); err != nil {
			t.Error(err)
		}
		requireError(t, sub.Drain(t.Context()), bus.ErrClosed, "abandoned 4 events")
		publish(t, topic, 9)
		if st := topic.Stats(); st.Unrouted != 1 {
			t.Errorf("%+v", st)
		}
		var own *bus.Subscription
		own = subscribe(t, topic, "s", func(context.Context, int) error { own.Stop(); return nil }) // its name is free again
		publish(t, topic, 1)
		<-own.Done()
		shutdown(t, b)
	})
}
