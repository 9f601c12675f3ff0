package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

func startHeld(t testing.TB, b *bus.Bus) {
	t.Helper()
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestHeldBusTakesNothing: a held bus refuses events, whatever the way in, and says so; once it is started, all that was
// subscribed has all that is published.
func TestHeldBusTakesNothing(t *testing.T) {
	for name, cfg := range map[string]bus.Config{
		"in process": {Hold: true}, "transport": {Hold: true, Transport: memory.NewBroker().Connect()},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, cfg)
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
			questions := newTopic(t, b, bus.TopicConfig[bus.Request[int, int]]{Name: "q"})
			var got list[int]
			sub := subscribe(t, topic, "s", func(_ context.Context, n int) error { got.add(n); return nil })
			batch, err := topic.SubscribeBatch(t.Context(), "b", func(context.Context, []bus.Message[int]) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			requireError(t, topic.Publish(t.Context(), 1), bus.ErrNotStarted, "publish n")
			requireError(t, topic.PublishBatch(t.Context(), []int{1, 2}), bus.ErrNotStarted, "batch n")
			if cfg.Transport == nil {
				_, err = bus.Ask(t.Context(), questions, 1)
				requireError(t, err, bus.ErrNotStarted, "ask q")
			}
			ready := b.Health().Ready()
			if h := b.Health(); !h.Held || !errors.Is(ready, bus.ErrNotReady) || !strings.HasPrefix(ready.Error(), "not ready: the bus is not started") || h.Live() != nil {
				t.Errorf("%+v: %v, %v", h, ready, h.Live())
			}
			startHeld(t, b)
			startHeld(t, b) // does nothing
			if h := b.Health(); h.Held {
				t.Errorf("%+v", h)
			}
			for n := range 10 {
				publish(t, topic, n)
			}
			shutdown(t, b)
			got.require(t, "handled", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
			if a, b := stats(t, sub), stats(t, batch); a.Handled != 10 || b.Handled != 10 {
				t.Errorf("%v, %v", a, b)
			}
			requireError(t, b.Start(t.Context()), bus.ErrClosed, "start")
		})
	}
}

// TestStartBeginsAllTogether: handlers run when every subscription is live, not before: what a handler publishes meets all
// of them, also where the transport takes its time, and events of others arrive meanwhile.
func TestStartBeginsAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty()
		var unsubscribed sync.Map
		f.subscribe = func(ctx context.Context, topic transport.Topic) error {
			if topic.Name == "last" {
				time.Sleep(time.Minute)
			}
			unsubscribed.Delete(topic.Name)
			return f.Transport.Subscribe(ctx, topic)
		}
		b := newBus(t, bus.Config{Transport: f, Hold: true})
		last := newTopic(t, b, bus.TopicConfig[int]{Name: "last"})
		var got list[int]
		subscribe(t, last, "s", func(_ context.Context, n int) error { got.add(n); return nil })
		first := newTopic(t, b, bus.TopicConfig[int]{Name: "first"})
		unsubscribed.Store("last", true)
		early := subscribe(t, first, "s", func(ctx context.Context, n int) error {
			if _, missing := unsubscribed.Load("last"); missing {
				t.Error("a handler runs before all is subscribed")
			}
			return last.Publish(ctx, n)
		}, bus.Lanes(2))
		if calls := f.calls.get(); len(calls) > 0 {
			t.Errorf("the transport was called: %v", calls)
		}
		go func() {
			time.Sleep(time.Second) // Start waits for the last topic
			var results [1]transport.Result
			f.Publish(t.Context(), []*transport.Envelope{{Topic: "first", Payload: []byte("7"), ContentType: "application/json"}}, results[:])
		}()
		startHeld(t, b)
		synctest.Wait()
		got.require(t, "of the early event", 7)
		if st := stats(t, early); st.Handled != 1 {
			t.Errorf("%v", st)
		}
		shutdown(t, b)
	})
}

// TestStartTriesAgain: an error of the transport names the topic, leaves the bus held, and is over with the next Start.
func TestStartTriesAgain(t *testing.T) {
	f := newFaulty()
	broken := map[string]error{"bad": errors.New("no such shard"), "panics": nil}
	f.subscribe = func(ctx context.Context, topic transport.Topic) error {
		if err, ok := broken[topic.Name]; ok {
			if err == nil {
				panic("of the transport")
			}
			return err
		}
		return f.Transport.Subscribe(ctx, topic)
	}
	b := newBus(t, bus.Config{Transport: f, Hold: true})
	var topics []*bus.Topic[int]
	var got list[int]
	for _, name := range []string{"good", "bad", "panics"} {
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: name})
		topics = append(topics, topic)
		subscribe(t, topic, "s", func(_ context.Context, n int) error { got.add(n); return nil })
	}
	requireError(t, b.Start(t.Context()), broken["bad"], "subscribe to bad", "no such shard", "Subscribe of panics panicked: of the transport")
	requireError(t, topics[0].Publish(t.Context(), 1), bus.ErrNotStarted)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	clear(broken)
	requireError(t, b.Start(ended), context.Canceled)
	startHeld(t, b)
	for i, topic := range topics {
		publish(t, topic, i)
	}
	shutdown(t, b)
	if len(got.get()) != 3 {
		t.Errorf("handled %v", got.get())
	}
}

// TestEndOfHeldBus: a bus that was never started ends in every way, at once; what waits for its start is told.
func TestEndOfHeldBus(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, b *bus.Bus){
		"shutdown": func(t *testing.T, b *bus.Bus) { shutdown(t, b) },
		"close": func(t *testing.T, b *bus.Bus) {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFaulty()
				f.subscribe = func(ctx context.Context, _ transport.Topic) error {
					<-ctx.Done()
					return context.Cause(ctx)
				}
				b := newBus(t, bus.Config{Transport: f, Hold: true})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				drained := subscribe(t, topic, "drained", ignore[int])
				if err := drained.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				sub := subscribe(t, topic, "s", ignore[int])
				began := make(chan error, 1)
				go func() { began <- b.Start(context.WithoutCancel(t.Context())) }()
				synctest.Wait()
				end(t, b)
				requireError(t, <-began, bus.ErrClosed, "start")
				<-sub.Done()
				<-b.Done()
			})
		})
	}
}

// TestPauseOfHeldSubscription: a subscription that is paused stays so through Start.
func TestPauseOfHeldSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{Hold: true})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		sub := subscribe(t, topic, "s", ignore[int])
		sub.Pause()
		startHeld(t, b)
		publish(t, topic, 1)
		synctest.Wait()
		if st := stats(t, sub); st.Handled != 0 || st.Pending() != 1 {
			t.Errorf("%v", st)
		}
		sub.Resume()
		synctest.Wait()
		if st := stats(t, sub); st.Handled != 1 {
			t.Errorf("%v", st)
		}
		shutdown(t, b)
	})
}

// TestSubscribeBesideStart: whoever subscribes while Start runs has what is published once both have returned.
func TestSubscribeBesideStart(t *testing.T) {
	for range 50 {
		broker := memory.NewBroker()
		b := newBus(t, bus.Config{Transport: broker.Connect(), Hold: true})
		var topics []*bus.Topic[int]
		for i := range 8 {
			topics = append(topics, newTopic(t, b, bus.TopicConfig[int]{Name: fmt.Sprint("t", i)}))
		}
		subs := make([]*bus.Subscription, 3*len(topics))
		var running sync.WaitGroup
		running.Go(func() { startHeld(t, b) })
		for i := range subs {
			running.Go(func() {
				var err error
				if subs[i], err = topics[i%len(topics)].Subscribe(t.Context(), fmt.Sprint("s", i), ignore[int], bus.Lanes(1+i%2)); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		for _, topic := range topics {
			publish(t, topic, 1)
		}
		shutdown(t, b)
		for _, s := range subs {
			if st := stats(t, s); st.Handled != 1 {
				t.Fatalf("%s: %v", s.Topic(), st)
			}
		}
	}
}
