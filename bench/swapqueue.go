package main

import (
	"sync"
)

// swapqueue is the least that can be done: a slice under a mutex that the
// consumer swaps for an empty one, and a channel to wake it by.
type swapqueue struct{}

func (swapqueue) name() string   { return "mutex+slices" }
func (swapqueue) marks() marks   { return unbounded | noBackPressure | noContext }
func (swapqueue) slower() uint64 { return 1 }
func (swapqueue) batches()       {}

// swapQueue is one of them. The zero value with wake made is ready.
type swapQueue struct {
	wake chan struct{} // capacity 1

	mu struct {
		sync.Mutex
		filling []Event
		asleep  bool
		closed  bool
	}
}

func (q *swapQueue) push(e *Event) {
	q.mu.Lock()
	q.mu.filling = append(q.mu.filling, *e)
	asleep := q.mu.asleep
	q.mu.asleep = false
	q.mu.Unlock()
	if asleep {
		q.wake <- struct{}{}
	}
}

func (q *swapQueue) pushAll(events []Event) {
	q.mu.Lock()
	q.mu.filling = append(q.mu.filling, events...)
	asleep := q.mu.asleep
	q.mu.asleep = false
	q.mu.Unlock()
	if asleep {
		q.wake <- struct{}{}
	}
}

func (q *swapQueue) close() {
	q.mu.Lock()
	q.mu.closed = true
	asleep := q.mu.asleep
	q.mu.asleep = false
	q.mu.Unlock()
	if asleep {
		q.wake <- struct{}{}
	}
}

// consume hands everything to t until the queue is closed.
func (q *swapQueue) consume(t *tally) {
	var events []Event
	for {
		q.mu.Lock()
		q.mu.filling, events = events[:0], q.mu.filling
		closed := q.mu.closed
		q.mu.asleep = len(events) == 0 && !closed
		q.mu.Unlock()
		switch {
		case len(events) > 0:
			for i := range events {
				t.handle(&events[i])
			}
		case closed:
			return
		default:
			<-q.wake
		}
	}
}

// swapFeed is a queue for each subscription.
type swapFeed struct {
	queues    []*swapQueue
	batch     []Event // W1batch has one producer
	consumers sync.WaitGroup
}

func newSwapFeed(subs []tally) *swapFeed {
	f := &swapFeed{queues: make([]*swapQueue, len(subs))}
	for i := range subs {
		q := &swapQueue{wake: make(chan struct{}, 1)}
		f.queues[i] = q
		f.consumers.Go(func() { q.consume(&subs[i]) })
	}
	return f
}

func (swapqueue) fanOut(subs []tally) (feed, error) { return newSwapFeed(subs), nil }

func (f *swapFeed) produce(first, n uint64) error {
	for id := first; id < first+n; id++ {
		e := event(id)
		for _, q := range f.queues {
			q.push(&e)
		}
	}
	return nil
}

func (f *swapFeed) produceBatch(first, n uint64, size int) error {
	for id := first; id < first+n; id += uint64(len(f.batch)) {
		f.batch = f.batch[:0]
		for i := range min(uint64(size), first+n-id) {
			f.batch = append(f.batch, event(id+i))
		}
		for _, q := range f.queues {
			q.pushAll(f.batch)
		}
	}
	return nil
}

func (swapqueue) topics(subs []tally) (routedFeed, error) { return newSwapFeed(subs), nil }

func (f *swapFeed) produceTo(to []uint32, first uint64) error {
	for i, t := range to {
		e := event(first + uint64(i))
		f.queues[t].push(&e)
	}
	return nil
}

func (f *swapFeed) stop() error {
	for _, q := range f.queues {
		q.close()
	}
	f.consumers.Wait()
	return nil
}
