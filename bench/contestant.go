package main

import (
	"strings"
	"time"
)

// contestant is somebody who carries events. What it can carry is told by which
// of the interfaces below it implements.
type contestant interface {
	name() string
	marks() marks
	// slower divides the number of events for a contestant that would otherwise
	// take most of the run's time; 1 for most.
	slower() uint64
}

// marks are what a figure is to be read with.
type marks uint8

const (
	drops marks = 1 << iota
	unordered
	unbounded
	noBackPressure
	noContext
)

var markNames = []string{"drops", "unordered", "unbounded", "no back-pressure", "no context"}

func (m marks) String() string {
	var names []string
	for i, name := range markNames {
		if m&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// mailbox is the bound of every queue that has one, and topicMailbox where there
// are thousands of topics: a channel pays for its bound in advance.
const (
	mailbox      = 1024
	topicMailbox = 64
)

// stopper is something that runs. stop returns when it has ended.
type stopper interface{ stop() error }

// feed is one topic. produce publishes n events one by one, with IDs from first
// on; it may be called from several goroutines.
type feed interface {
	stopper
	produce(first, n uint64) error
}

// fanOuter has subscriptions of one topic, each of which gets every event (W1,
// W2, W3, W5).
type fanOuter interface {
	contestant
	fanOut(subs []tally) (feed, error)
}

// batcher has a feed for one subscription that is a batchFeed (W1batch). The
// channel is one as the reference: it takes them one by one.
type batcher interface {
	fanOuter
	batches()
}

// batchFeed publishes size events at a time.
type batchFeed interface {
	feed
	produceBatch(first, n uint64, size int) error
}

// routedFeed publishes an event for each entry of to, with IDs from first on; to
// are topics (W4) or keys (W6).
type routedFeed interface {
	stopper
	produceTo(to []uint32, first uint64) error
}

// topical has many topics, each with a subscription of its own (W4).
type topical interface {
	contestant
	topics(subs []tally) (routedFeed, error)
}

// keyer has one topic whose events are handled in order of their keys, up to
// lanes at once (W6). Key i is keys[i], and its events go to perKey[i].
type keyer interface {
	contestant
	keyed(lanes int, keys []string, perKey []tally) (routedFeed, error)
}

// asker sends a request and waits for its reply (W5ask).
type asker interface {
	contestant
	// ask starts a responder that answers an event with its ID.
	ask() (askFeed, error)
}

type askFeed interface {
	stopper
	ask(e Event) (uint64, error)
}

// idler has many idle subscriptions (W7). prepare does what is not the
// subscriptions' own, for instance the topics; subscribe makes subscription i.
type idler interface {
	contestant
	idle(n int) (idleFeed, error)
}

type idleFeed interface {
	stopper
	subscribe(i int) error
}

// residents has many idle actors, one a key, each of which was touched once
// (W7actors). touch sends the first event to key i.
type residents interface {
	contestant
	actors(keys []string) (residentFeed, error)
}

type residentFeed interface {
	stopper
	touch(i int) error
	touched() uint64 // events handled so far
}

// disturber has a subscription beside others that sleep for nap an event (W8): one
// on another topic, and one on the same that drops what it can't take, where the
// contestant knows such a thing. produce feeds the topic of the measured one.
type disturber interface {
	fanOuter
	disturbed(measured *tally, nap time.Duration) (feed, error)
}
