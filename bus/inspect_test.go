package bus_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/transport/memory"
)

// watcher notes what it is told of.
type watcher struct {
	list[string]
	published list[*bus.Delivery]
}

func (w *watcher) Subscribed(sub any) { w.add(sub.(*bus.Subscription).Name()) }

func (w *watcher) DeadLettered(any, any) {}

func (w *watcher) Published(delivery any) { w.published.add(delivery.(*bus.Delivery)) }

func (w *watcher) Misused(topic, subscription, what string) {
	w.add(topic + "/" + subscription + ": " + what)
}

func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(bus.Config{Transport: memory.NewBroker().Connect(), Grace: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		view := inspect.Of(b)
		if view.Watcher() != nil || inspect.Of(t) != nil {
			t.Error("there is a watcher, or a view of what is no bus")
		}
		w := &watcher{}
		view.Watch(w)
		synctest.Wait()
		if got := view.Goroutines(); len(got) != 1 { // the transport's
			t.Errorf("goroutines: %q", got)
		}
		topic, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "n"})
		if err != nil {
			t.Fatal(err)
		}
		let := make(chan struct{})
		sub, err := topic.Subscribe(t.Context(), "s", func(context.Context, int) error { <-let; return nil })
		if err != nil {
			t.Fatal(err)
		}
		_, err = topic.Subscribe(t.Context(), "s", func(context.Context, int) error { return nil })
		requireError(t, err, bus.ErrDuplicateSubscription)
		w.require(t, "subscriptions", "s") // and not the one that failed
		if inspect.Of(sub).Watcher() != inspect.Watcher(w) {
			t.Error("a subscription leads to another bus")
		}
		if !view.Idle() {
			t.Error("it is not idle before anything happened")
		}
		if err := topic.Publish(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := view.Goroutines(); view.Idle() || !slices.Contains(got, "n/s lane 0") {
			t.Errorf("idle while a handler runs, or no goroutine: %q", got)
		}
		changed, release := view.Changed()
		defer release()
		if err := b.Close(); err == nil { // the handler is deaf
			t.Error("closed")
		}
		if got := view.Goroutines(); !slices.Contains(got, "n/s lane 0") {
			t.Errorf("after Close: %q", got)
		}
		close(let)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("nobody told that the lane became idle")
		}
		if got := view.Goroutines(); len(got) != 0 || !view.Idle() {
			t.Errorf("after the end: %q", got)
		}
	})
}

// A clone stays what the delivery was, whatever becomes of that.
func TestDeliveryClone(t *testing.T) {
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	type event struct {
		N    int
		Tags []string
	}
	cfg := bus.TopicConfig[event]{Name: "n", Key: func(e event) string { return e.Tags[0] }}
	topic, err := bus.NewTopic(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var kept []*bus.Delivery
	keep := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			kept = append(kept, d.Clone())
			return next(ctx, d)
		}
	}
	_, err = topic.Subscribe(t.Context(), "s", func(context.Context, event) error {
		if len(kept) == 1 {
			return bus.RetryAfter(0, errors.New("again"))
		}
		return nil
	}, bus.Use(keep))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := topic.Publish(t.Context(), event{i, []string{"k"}}, bus.Header("i", "h")); err != nil {
			t.Fatal(err)
		}
	}
	shutdown(t, b)
	var got []int
	for _, d := range kept {
		m, err := bus.MessageOf[event](d.Clone())
		if err != nil || m.Key != "k" || m.Headers.Get("i") != "h" || m.ID.IsZero() {
			t.Errorf("%+v: %v", m, err)
		}
		got = append(got, m.Value.N*10+m.Attempt)
	}
	if !slices.Equal(got, []int{1, 2, 11, 21}) {
		t.Errorf("%v", got)
	}
	d := bustest.TypedDelivery(cfg, event{N: 7, Tags: []string{"k"}}, bustest.PublishedWith(bus.ID("id"), bus.Header("a", "b")))
	if d.ID().String() != "id" || d.Headers().Get("a") != "b" {
		t.Errorf("ID and Header are lost on the way to TypedDelivery: %v", d)
	}
	none := bustest.TypedDelivery(bus.TopicConfig[any]{Name: "a"}, any(nil)).Clone()
	if v, ok := bus.Value[any](none); !ok || *v != nil {
		t.Error("an interface that is nil is no longer")
	}
}
