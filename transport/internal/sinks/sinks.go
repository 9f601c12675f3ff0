// Package sinks calls the sinks of a log's consumers: by one goroutine, each sink's calls in order,
// none after it was told to stop, and no lock of the log is held meanwhile.
package sinks

import (
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Dispatcher has the queues of all sinks of one bus. Safe for concurrent use.
type Dispatcher struct {
	ready  chan struct{} // has room for one: there may be a queue that is ready
	mu     sync.Mutex
	queues []*Queue // guarded by mu: those that are ready
}

// NewDispatcher makes one without queues.
func NewDispatcher() *Dispatcher { return &Dispatcher{ready: make(chan struct{}, 1)} }

// Ready receives when Deliver has something to do, perhaps.
func (d *Dispatcher) Ready() <-chan struct{} { return d.ready }

// Deliver makes the calls that are due, until there are none or more says no. Only one goroutine
// may be in it.
func (d *Dispatcher) Deliver(more func() bool) {
	for more() {
		d.mu.Lock()
		if len(d.queues) == 0 {
			d.mu.Unlock()
			return
		}
		q := d.queues[0]
		d.queues = slices.Delete(d.queues, 0, 1)
		d.mu.Unlock()
		q.deliver(more)
	}
	d.signal() // for the next Serve
}

func (d *Dispatcher) signal() {
	select {
	case d.ready <- struct{}{}:
	default: // it is signaled already
	}
}

func (d *Dispatcher) list(q *Queue) {
	d.mu.Lock()
	if !slices.Contains(d.queues, q) {
		d.queues = append(d.queues, q)
	}
	d.mu.Unlock()
	d.signal()
}

// Queue has the calls that one sink is owed. Safe for concurrent use.
type Queue struct {
	dispatcher *Dispatcher
	sink       transport.ConsumerSink
	// calling is held while the sink is called. It is taken before mu.
	calling sync.Mutex
	mu      sync.Mutex
	calls   []call // guarded by mu
	ended   bool   // guarded by mu
}

// call is one call of a sink. make makes it, and after, if not nil, is called when it was made, or
// never will be.
type call struct {
	wakes bool
	fence fence
	make  func(transport.ConsumerSink)
	after func()
}

// fence tells the leases of a consumer apart.
type fence struct {
	partition int
	number    uint64
}

func fenceOf(l transport.Lease) fence { return fence{l.Partition, l.Fence} }

// Queue makes the queue of a sink.
func (d *Dispatcher) Queue(sink transport.ConsumerSink) *Queue {
	return &Queue{dispatcher: d, sink: sink}
}

// Assign queues a call of Assign.
func (q *Queue) Assign(l transport.Lease, st transport.LeaseState) {
	q.add(call{fence: fenceOf(l), make: func(s transport.ConsumerSink) { s.Assign(l, st) }})
}

// Revoke queues a call of Revoke.
func (q *Queue) Revoke(l transport.Lease, by time.Duration) {
	q.add(call{fence: fenceOf(l), make: func(s transport.ConsumerSink) { s.Revoke(l, by) }})
}

// Lost queues a call of Lost, in place of a Wake of the lease that was not made yet. after is
// called, on any goroutine and with no lock held, when the sink knows, or has ended.
func (q *Queue) Lost(l transport.Lease, err error, after func()) {
	q.drop(fenceOf(l))
	q.add(call{fence: fenceOf(l), make: func(s transport.ConsumerSink) { s.Lost(l, err) }, after: after})
}

// Wake queues a call of Wake, unless one for the lease is queued.
func (q *Queue) Wake(l transport.Lease) {
	q.add(call{wakes: true, fence: fenceOf(l), make: func(s transport.ConsumerSink) { s.Wake(l) }})
}

// Gap queues a call of Gap.
func (q *Queue) Gap(g transport.Gap) {
	q.add(call{make: func(s transport.ConsumerSink) { s.Gap(g) }})
}

func (q *Queue) add(c call) {
	q.mu.Lock()
	ended := q.ended
	queued := c.wakes && slices.ContainsFunc(q.calls, func(have call) bool { return have.wakes && have.fence == c.fence })
	if !ended && !queued {
		q.calls = append(q.calls, c)
	}
	q.mu.Unlock()
	switch {
	case ended && c.after != nil:
		c.after()
	case !ended && !queued:
		q.dispatcher.list(q)
	}
}

// drop forgets the wakes of a lease.
func (q *Queue) drop(f fence) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls = slices.DeleteFunc(q.calls, func(c call) bool { return c.wakes && c.fence == f })
}

// Release drops all calls of a lease that were not made, and waits for one that is being made.
func (q *Queue) Release(l transport.Lease) {
	q.mu.Lock()
	q.calls = slices.DeleteFunc(q.calls, func(c call) bool { return c.fence == fenceOf(l) && c.after == nil })
	q.mu.Unlock()
	q.await()
}

// End drops all calls, and waits for one that is being made: none is made any more.
func (q *Queue) End() {
	q.mu.Lock()
	dropped := q.calls
	q.calls, q.ended = nil, true
	q.mu.Unlock()
	q.await()
	for _, c := range dropped {
		if c.after != nil {
			c.after()
		}
	}
}

// await waits for a call that is being made.
func (q *Queue) await() {
	q.calling.Lock()
	defer q.calling.Unlock()
}

// deliver makes the calls that are queued. What is left when more says no stays listed.
func (q *Queue) deliver(more func() bool) {
	for {
		if !more() {
			q.dispatcher.list(q)
			return
		}
		after, made := q.next()
		if !made {
			return
		}
		if after != nil {
			after()
		}
	}
}

// next makes one call.
func (q *Queue) next() (after func(), made bool) {
	q.calling.Lock()
	defer q.calling.Unlock()
	q.mu.Lock()
	if len(q.calls) == 0 {
		q.mu.Unlock()
		return nil, false
	}
	c := q.calls[0]
	q.calls = slices.Delete(q.calls, 0, 1)
	q.mu.Unlock()
	c.make(q.sink)
	return c.after, true
}
