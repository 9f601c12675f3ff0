package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// watermillChannel is Watermill's in-process publisher as it comes: each event
// has a goroutine for each subscription until it is acknowledged. A message is
// bytes, so the event is encoded and decoded, in the cheapest way there is, and
// goes without a UUID.
type watermillChannel struct{}

func (watermillChannel) name() string   { return "watermill" }
func (watermillChannel) marks() marks   { return unordered | unbounded | noBackPressure }
func (watermillChannel) slower() uint64 { return 100 }

type watermillFeed struct {
	pubsub    *gochannel.GoChannel
	topics    []string
	consumers sync.WaitGroup
}

func newWatermillFeed() *watermillFeed {
	return &watermillFeed{pubsub: gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: mailbox}, watermill.NopLogger{})}
}

func (f *watermillFeed) subscribe(topic string, t *tally) error {
	messages, err := f.pubsub.Subscribe(context.Background(), topic)
	if err != nil {
		return err
	}
	f.consumers.Go(func() {
		for m := range messages {
			if e, ok := decode(m.Payload); ok {
				t.handle(&e)
			}
			m.Ack()
		}
	})
	return nil
}

func (f *watermillFeed) publish(topic string, id uint64) error {
	return f.pubsub.Publish(topic, message.NewMessage("", encode(event(id))))
}

func (f *watermillFeed) stop() error {
	err := f.pubsub.Close()
	f.consumers.Wait()
	return err
}

func (watermillChannel) fanOut(subs []tally) (feed, error) {
	f := newWatermillFeed()
	for i := range subs {
		if err := f.subscribe("events", &subs[i]); err != nil {
			return nil, errors.Join(err, f.stop())
		}
	}
	return f, nil
}

func (f *watermillFeed) produce(first, n uint64) error {
	for id := first; id < first+n; id++ {
		if err := f.publish("events", id); err != nil {
			return err
		}
	}
	return nil
}

func (watermillChannel) topics(subs []tally) (routedFeed, error) {
	f := newWatermillFeed()
	f.topics = make([]string, len(subs))
	for i := range subs {
		f.topics[i] = topicName(i)
		if err := f.subscribe(f.topics[i], &subs[i]); err != nil {
			return nil, errors.Join(err, f.stop())
		}
	}
	return f, nil
}

func (f *watermillFeed) produceTo(to []uint32, first uint64) error {
	for i, t := range to {
		if err := f.publish(f.topics[t], first+uint64(i)); err != nil {
			return err
		}
	}
	return nil
}

func encode(e Event) []byte {
	b := make([]byte, 0, 32)
	b = binary.LittleEndian.AppendUint64(b, e.ID)
	b = binary.LittleEndian.AppendUint64(b, e.Key)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e.Price))
	return binary.LittleEndian.AppendUint64(b, uint64(e.Qty))
}

func decode(b []byte) (e Event, ok bool) {
	if len(b) != 32 {
		return e, false
	}
	return Event{
		ID:    binary.LittleEndian.Uint64(b),
		Key:   binary.LittleEndian.Uint64(b[8:]),
		Price: math.Float64frombits(binary.LittleEndian.Uint64(b[16:])),
		Qty:   int64(binary.LittleEndian.Uint64(b[24:])),
	}, true
}
