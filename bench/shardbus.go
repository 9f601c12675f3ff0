package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// shardbus is our bus: handlers take a context and return an error, headers can
// be had, and a pass-through middleware is around every handler.
type shardbus struct{}

func (shardbus) name() string   { return "shardbus" }
func (shardbus) marks() marks   { return 0 }
func (shardbus) slower() uint64 { return 1 }
func (shardbus) batches()       {}

func passThrough(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d) }
}

func newBus() (*bus.Bus, error) {
	return bus.New(bus.Config{Use: []bus.Middleware{passThrough}})
}

func (t *tally) handler() func(context.Context, Event) error {
	return func(_ context.Context, e Event) error {
		t.handle(&e)
		return nil
	}
}

// busFeed is one topic of a bus of its own.
type busFeed struct {
	bus   *bus.Bus
	topic *bus.Topic[Event]
	batch []Event // W1batch has one producer
}

func newBusFeed(key func(Event) string) (*busFeed, error) {
	b, err := newBus()
	if err != nil {
		return nil, err
	}
	topic, err := bus.NewTopic(b, bus.TopicConfig[Event]{Name: "events", Key: key})
	return &busFeed{bus: b, topic: topic}, err
}

func (f *busFeed) stop() error { return f.bus.Close() }

func (shardbus) fanOut(subs []tally) (feed, error) {
	f, err := newBusFeed(nil)
	for i := range subs {
		if err == nil {
			_, err = f.topic.Subscribe(context.Background(), "s"+strconv.Itoa(i), subs[i].handler(), bus.Mailbox(mailbox, bus.Block))
		}
	}
	return f, err
}

func (f *busFeed) produce(first, n uint64) error {
	ctx := context.Background()
	for id := first; id < first+n; id++ {
		if err := f.topic.Publish(ctx, event(id)); err != nil {
			return err
		}
	}
	return nil
}

func (f *busFeed) produceBatch(first, n uint64, size int) error {
	ctx := context.Background()
	for id := first; id < first+n; id += uint64(len(f.batch)) {
		f.batch = f.batch[:0]
		for i := range min(uint64(size), first+n-id) {
			f.batch = append(f.batch, event(id+i))
		}
		if err := f.topic.PublishBatch(ctx, f.batch); err != nil {
			return err
		}
	}
	return nil
}

// busTopics is many topics of one bus.
type busTopics struct {
	bus    *bus.Bus
	topics []*bus.Topic[Event]
}

func newBusTopics(n int) (*busTopics, error) {
	b, err := newBus()
	if err != nil {
		return nil, err
	}
	f := &busTopics{bus: b, topics: make([]*bus.Topic[Event], n)}
	for i := range f.topics {
		if f.topics[i], err = bus.NewTopic(b, bus.TopicConfig[Event]{Name: topicName(i)}); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return f, nil
}

func topicName(i int) string { return "topic." + strconv.Itoa(i) }

func (f *busTopics) stop() error { return f.bus.Close() }

func (shardbus) topics(subs []tally) (routedFeed, error) {
	f, err := newBusTopics(len(subs))
	if err != nil {
		return nil, err
	}
	for i, topic := range f.topics {
		if _, err := topic.Subscribe(context.Background(), "s", subs[i].handler(), bus.Mailbox(topicMailbox, bus.Block)); err != nil {
			return nil, errors.Join(err, f.stop())
		}
	}
	return f, nil
}

func (f *busTopics) produceTo(to []uint32, first uint64) error {
	ctx := context.Background()
	for i, t := range to {
		if err := f.topics[t].Publish(ctx, event(first+uint64(i))); err != nil {
			return err
		}
	}
	return nil
}

func (shardbus) keyed(lanes int, keys []string, perKey []tally) (routedFeed, error) {
	f, err := newBusFeed(func(e Event) string { return keys[e.Key] })
	if err == nil {
		_, err = f.topic.Subscribe(context.Background(), "s", func(_ context.Context, e Event) error {
			perKey[e.Key].handle(&e)
			return nil
		}, bus.Lanes(lanes), bus.Mailbox(mailbox, bus.Block))
	}
	return f, err
}

func (f *busFeed) produceTo(to []uint32, first uint64) error {
	ctx := context.Background()
	for i, key := range to {
		e := event(first + uint64(i))
		e.Key = uint64(key)
		if err := f.topic.Publish(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// busIdle is topics, made in advance, whose subscriptions wait for events.
type busIdle struct{ *busTopics }

func (shardbus) idle(n int) (idleFeed, error) {
	f, err := newBusTopics(n)
	return busIdle{f}, err
}

func (f busIdle) subscribe(i int) error {
	_, err := f.topics[i].Subscribe(context.Background(), "s", discard)
	return err
}

func discard(context.Context, Event) error { return nil }

// busDisturbed is a busFeed beside a second topic that is fed all the time.
type busDisturbed struct {
	*busFeed
	other *bus.Topic[Event]
	fed   chan error
}

func (shardbus) disturbed(measured *tally, nap time.Duration) (feed, error) {
	f, err := newBusFeed(nil)
	if err != nil {
		return nil, err
	}
	d := &busDisturbed{busFeed: f, fed: make(chan error, 1)}
	if err := d.start(measured, nap); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return d, nil
}

func (d *busDisturbed) start(measured *tally, nap time.Duration) (err error) {
	ctx := context.Background()
	sleeper := func(context.Context, Event) error { time.Sleep(nap); return nil }
	if d.other, err = bus.NewTopic(d.bus, bus.TopicConfig[Event]{Name: "other"}); err != nil {
		return err
	}
	if _, err = d.other.Subscribe(ctx, "sleeper", sleeper); err != nil {
		return err
	}
	if _, err = d.topic.Subscribe(ctx, "measured", measured.handler(), bus.Mailbox(mailbox, bus.Block)); err != nil {
		return err
	}
	if _, err = d.topic.Subscribe(ctx, "sleeper", sleeper, bus.Mailbox(mailbox, bus.DropOldest)); err != nil {
		return err
	}
	go func() { d.fed <- d.feedOther(ctx) }()
	return nil
}

// feedOther publishes until the bus ends; most of the time it waits for room.
func (d *busDisturbed) feedOther(ctx context.Context) error {
	for id := uint64(1); ; id++ {
		if err := d.other.Publish(ctx, event(id)); err != nil {
			if errors.Is(err, bus.ErrClosed) {
				return nil
			}
			return fmt.Errorf("the other topic: %w", err)
		}
	}
}

func (d *busDisturbed) stop() error { return errors.Join(d.busFeed.stop(), <-d.fed) }
