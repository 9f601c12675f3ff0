package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/shardbus/shardbus/bus"
)

// busAsk is a topic of requests with a handler that answers.
type busAsk struct {
	bus   *bus.Bus
	topic *bus.Topic[bus.Request[Event, uint64]]
}

func (shardbus) ask() (askFeed, error) {
	b, err := newBus()
	if err != nil {
		return nil, err
	}
	f := &busAsk{bus: b}
	f.topic, err = bus.NewTopic(b, bus.TopicConfig[bus.Request[Event, uint64]]{Name: "questions"})
	if err == nil {
		_, err = f.topic.Subscribe(context.Background(), "responder",
			bus.Answer(func(_ context.Context, e Event) (uint64, error) { return e.ID, nil }))
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return f, nil
}

func (f *busAsk) ask(e Event) (uint64, error) { return bus.Ask(context.Background(), f.topic, e) }

func (f *busAsk) stop() error { return f.bus.Close() }

// busResidents is keyed actors that stay; the state of each is a counter.
type busResidents struct {
	*busFeed
	handled atomic.Uint64
}

func (shardbus) actors(keys []string) (residentFeed, error) {
	f, err := newBusFeed(func(e Event) string { return keys[e.Key] })
	if err != nil {
		return nil, err
	}
	r := &busResidents{busFeed: f}
	_, err = f.topic.Spawn(context.Background(), "residents", func(context.Context, string) (bus.Actor[Event], error) {
		return bus.Actor[Event]{Handle: r.handle}, nil
	}, bus.IdleTimeout(0), bus.Lanes(w6Lanes))
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return r, nil
}

func (r *busResidents) handle(context.Context, Event) error {
	r.handled.Add(1)
	return nil
}

func (r *busResidents) touch(i int) error {
	e := event(uint64(i))
	e.Key = uint64(i)
	return r.topic.Publish(context.Background(), e)
}

func (r *busResidents) touched() uint64 { return r.handled.Load() }
