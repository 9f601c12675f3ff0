package main

import (
	"hash/maphash"
	"sync"
	"time"
)

// channel is what one writes by hand: buffered channels with one consumer each.
type channel struct{}

func (channel) name() string   { return "channel" }
func (channel) marks() marks   { return noContext }
func (channel) slower() uint64 { return 1 }
func (channel) batches()       {}

// channelFeed is a channel for each consumer.
type channelFeed struct {
	channels  []chan Event
	consumers sync.WaitGroup
}

func newChannelFeed(n, capacity int, consume func(i int, e Event)) *channelFeed {
	f := &channelFeed{channels: make([]chan Event, n)}
	for i := range f.channels {
		ch := make(chan Event, capacity)
		f.channels[i] = ch
		f.consumers.Go(func() {
			for e := range ch {
				consume(i, e)
			}
		})
	}
	return f
}

func (f *channelFeed) stop() error {
	for _, ch := range f.channels {
		close(ch)
	}
	f.consumers.Wait()
	return nil
}

// channelOne is a single channel (W1, W3), channelFan several that all get every
// event (W2).
type (
	channelOne struct{ *channelFeed }
	channelFan struct{ *channelFeed }
)

func (channel) fanOut(subs []tally) (feed, error) {
	if len(subs) == 1 {
		ch := make(chan Event, mailbox)
		f := &channelFeed{channels: []chan Event{ch}}
		t := &subs[0]
		f.consumers.Go(func() { // the plainest loop there is
			for e := range ch {
				t.handle(&e)
			}
		})
		return channelOne{f}, nil
	}
	return channelFan{newChannelFeed(len(subs), mailbox, func(i int, e Event) { subs[i].handle(&e) })}, nil
}

func (f channelOne) produce(first, n uint64) error {
	ch := f.channels[0]
	for id := first; id < first+n; id++ {
		ch <- event(id)
	}
	return nil
}

// produceBatch is produce: a channel takes one at a time.
func (f channelOne) produceBatch(first, n uint64, _ int) error { return f.produce(first, n) }

func (f channelFan) produce(first, n uint64) error {
	for id := first; id < first+n; id++ {
		e := event(id)
		for _, ch := range f.channels {
			ch <- e
		}
	}
	return nil
}

// channelTopics is a channel for each topic.
type channelTopics struct{ *channelFeed }

func (channel) topics(subs []tally) (routedFeed, error) {
	return channelTopics{newChannelFeed(len(subs), topicMailbox, func(i int, e Event) { subs[i].handle(&e) })}, nil
}

func (f channelTopics) produceTo(to []uint32, first uint64) error {
	for i, t := range to {
		f.channels[t] <- event(first + uint64(i))
	}
	return nil
}

// channelShards is a channel for each lane, chosen by the hash of the key.
type channelShards struct {
	*channelFeed
	seed maphash.Seed
	keys []string
}

func (channel) keyed(lanes int, keys []string, perKey []tally) (routedFeed, error) {
	f := newChannelFeed(lanes, mailbox, func(_ int, e Event) { perKey[e.Key].handle(&e) })
	return channelShards{f, maphash.MakeSeed(), keys}, nil
}

func (f channelShards) produceTo(to []uint32, first uint64) error {
	n := uint64(len(f.channels))
	for i, key := range to {
		e := event(first + uint64(i))
		e.Key = uint64(key)
		f.channels[maphash.String(f.seed, f.keys[key])%n] <- e
	}
	return nil
}

// channelPair is a channel for requests and one for replies.
type channelPair struct {
	requests  chan Event
	replies   chan uint64
	responder sync.WaitGroup
}

func (channel) ask() (askFeed, error) {
	f := &channelPair{requests: make(chan Event, 1), replies: make(chan uint64, 1)}
	f.responder.Go(func() {
		for e := range f.requests {
			f.replies <- e.ID
		}
	})
	return f, nil
}

func (f *channelPair) ask(e Event) (uint64, error) {
	f.requests <- e
	return <-f.replies, nil
}

func (f *channelPair) stop() error {
	close(f.requests)
	f.responder.Wait()
	return nil
}

// channelIdle is a channel and a goroutine for each subscription.
type channelIdle struct{ *channelFeed }

func (channel) idle(n int) (idleFeed, error) {
	return channelIdle{&channelFeed{channels: make([]chan Event, 0, n)}}, nil
}

func (f channelIdle) subscribe(int) error {
	ch := make(chan Event, topicMailbox)
	f.channels = append(f.channels, ch)
	f.consumers.Go(func() {
		for range ch {
		}
	})
	return nil
}

// channelDisturbed is a measured channel, a sleeper's that gives up its oldest
// event when it is full, and a sleeper's of another topic with its producer.
type channelDisturbed struct {
	*channelFeed
	quit    chan struct{}
	feeding sync.WaitGroup
}

func (channel) disturbed(measured *tally, nap time.Duration) (feed, error) {
	f := &channelDisturbed{quit: make(chan struct{})}
	f.channelFeed = newChannelFeed(3, mailbox, func(i int, e Event) {
		if i == 0 {
			measured.handle(&e)
			return
		}
		select { // sleeps no longer than until the end
		case <-f.quit:
		default:
			time.Sleep(nap)
		}
	})
	f.feeding.Go(func() {
		for id := uint64(1); ; id++ {
			select {
			case f.channels[2] <- event(id):
			case <-f.quit:
				return
			}
		}
	})
	return f, nil
}

func (f *channelDisturbed) produce(first, n uint64) error {
	for id := first; id < first+n; id++ {
		e := event(id)
		f.channels[0] <- e
		for entered := false; !entered; {
			select {
			case f.channels[1] <- e:
				entered = true
			default:
				select {
				case <-f.channels[1]:
				default:
				}
			}
		}
	}
	return nil
}

func (f *channelDisturbed) stop() error {
	close(f.quit)
	f.feeding.Wait()
	return f.channelFeed.stop()
}
