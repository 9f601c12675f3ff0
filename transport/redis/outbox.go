package redis

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
)

const (
	batchEvents = 512     // events of one pipeline, at most
	batchBytes  = 1 << 20 // and bytes, unless one event is larger
)

// outbox is everything on its way to the servers: the streams and the lanes they are written through. Its methods do
// no I/O.
type outbox struct {
	cfg      *Config
	topology *topology
	only     string // not empty: the one topic that passes here
	// newPublisher, if not nil, is called when a publisher is heard of first. It must not block.
	newPublisher func()
	// newStream, if not nil, is called when a publisher is to publish on a channel for the first time. It must not block.
	newStream func(key streamKey)
	views     *topicViews // nil: nobody asks

	mu struct {
		sync.Mutex
		memory     *sendwindow.Memory  // nil: nothing is remembered
		publishers map[string]struct{} // whose windows there are
		streams    map[streamKey]*stream
		fresh      []streamKey // of streams, those that newStream was not told of
		bySlot     map[int][]*stream
		lanes      map[string]*lane // by the primary's address; "": slots that nobody owns
		detours    map[int]detour   // slots that a MOVED put elsewhere than the snapshot does
		resting    map[*stream]struct{}
		refuges    *refuges // nil: events are published at primaries only
		err        error    // not nil: nothing is taken in
	}
}

func newOutbox(cfg *Config, t *topology) *outbox {
	o := &outbox{cfg: cfg, topology: t}
	if !cfg.Repair.Off {
		o.mu.memory = sendwindow.New(cfg.Repair.limits())
		o.mu.publishers = make(map[string]struct{})
	}
	o.mu.streams = make(map[streamKey]*stream)
	o.mu.bySlot = make(map[int][]*stream)
	o.mu.lanes = make(map[string]*lane)
	o.mu.detours = make(map[int]detour)
	o.mu.resting = make(map[*stream]struct{})
	if cfg.Standby {
		o.mu.refuges = new(refuges)
		o.mu.refuges.follow(time.Now(), t.snapshot.Load())
	}
	return o
}

// lane returns the lane of a primary.
func (o *outbox) lane(addr string) *lane {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.laneLocked(addr)
}

// attach returns the lane of a primary for a writer, which detaches from it at its end. Until then the lane stays, though
// the primary may be none any more: it may be one again before the writer knows.
func (o *outbox) attach(addr string) (l *lane, detach func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l = o.laneLocked(addr)
	l.writers++
	return l, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		l.writers--
	}
}

func (o *outbox) laneLocked(addr string) *lane {
	l := o.mu.lanes[addr]
	if l == nil {
		l = newLane(addr)
		if addr == "" {
			l.lastErr = errNoOwner
		}
		o.mu.lanes[addr] = l
	}
	return l
}

// streamLocked returns the stream of an envelope.
func (o *outbox) streamLocked(key streamKey, slot int, env *transport.Envelope) *stream {
	s := o.mu.streams[key]
	if s == nil {
		s = &stream{streamKey: key, slot: slot, window: o.windowLocked(key.publisher)}
		o.mu.streams[key] = s
		o.mu.bySlot[slot] = append(o.mu.bySlot[slot], s)
		o.homeLocked(slot).add(s)
		o.mu.fresh = append(o.mu.fresh, key)
		if s.window != nil {
			o.views.publishes(env)
		}
	}
	return s
}

// positions calls each with the publishers here that are known on a channel: up to which number all is settled, and the last
// that was assigned.
func (o *outbox) positions(channel string, slot int, each func(publisher string, settled, assigned uint64)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.mu.bySlot[slot] {
		if s.channel == channel && s.publisher != "" {
			each(s.publisher, s.settled, s.assigned)
		}
	}
}

// rehome moves streams to the lanes of the primaries that the snapshot names. Those with events in flight follow when
// these are settled.
func (o *outbox) rehome() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.mu.detours)
	o.mu.refuges.follow(time.Now(), o.topology.snapshot.Load())
	for s := range o.mu.resting {
		o.wakeLocked(s)
	}
	for _, streams := range o.mu.bySlot {
		for _, s := range streams {
			o.goHomeLocked(s)
		}
	}
	for addr, l := range o.mu.lanes {
		if len(l.streams) == 0 && l.events == 0 && l.writers == 0 {
			if _, known := o.topology.snapshot.Load().NodeShard(addr); !known {
				delete(o.mu.lanes, addr)
			}
		}
	}
}

func (o *outbox) goHomeLocked(s *stream) {
	home := o.homeLocked(s.slot)
	s.leaving = home != s.lane && s.inFlight > 0
	switch {
	case home == s.lane:
		s.lane.enlist(s)
	case s.inFlight == 0:
		s.lane.remove(s)
		s.lane.makeRoom()
		home.add(s)
	}
}

// push queues a call's items from the first-th on, as far as there is room, and returns the first that did not fit and
// what to wait for then. Once all are queued it lets go of the call, which may be done by then. The caller is to have w,
// if it is not nil, written with; other writers are told.
func (o *outbox) push(c *call, first int) (w *writer, next int, space <-chan struct{}, err error) {
	o.mu.Lock()
	w, next, space, err = o.pushLocked(c, first)
	fresh := o.mu.fresh
	o.mu.fresh = nil
	o.mu.Unlock()
	if o.newStream != nil {
		for _, key := range fresh {
			o.newStream(key)
		}
	}
	return w, next, space, err
}

func (o *outbox) pushLocked(c *call, first int) (w *writer, next int, space <-chan struct{}, err error) {
	for i := first; i < len(c.items); i++ {
		it := &c.items[i]
		if it.env == nil { // refused
			continue
		}
		if o.mu.err != nil {
			return w, i, nil, o.mu.err
		}
		s := o.streamLocked(streamKey{publisher: it.env.Publisher, channel: it.channel}, it.slot, it.env)
		l := s.lane
		if l.full(o.cfg, it.size) {
			return w, i, l.room(), nil
		}
		if w == nil {
			w = l.writer
		}
		it.stream = s
		s.queue = append(s.queue, it)
		l.events++
		l.bytes += it.size
		c.open++
		if l.list(s); w == nil || w.lane != l {
			l.signal()
		}
	}
	if c.release() {
		c.done <- struct{}{}
	}
	return w, len(c.items), nil, nil
}

// abandon ends a call's open items with err: its caller waits no longer. What was written may still be accepted; its
// number is uncertain from now on.
func (o *outbox) abandon(c *call, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range c.items {
		it := &c.items[i]
		if it.stream == nil || it.call == nil {
			continue
		}
		s := it.stream
		if last := s.lane.lastErr; last != nil {
			c.results[i].Err = fmt.Errorf("redis: publish to %q: %w; before that: %w", it.env.Topic, err, last)
		} else {
			c.results[i].Err = fmt.Errorf("redis: publish to %q: %w", it.env.Topic, err)
		}
		it.dead, s.dead = true, true
		if it.seq != 0 {
			s.giveUp(it.seq)
		}
	}
	for i := range c.items {
		if s := c.items[i].stream; s != nil {
			s.prune()
			s.lane.makeRoom()
		}
	}
}

// outcome is what became of one item of a batch.
type outcome struct {
	receivers int
	err       error // final
	again     bool  // to be sent again
	unknown   bool  // the server may have accepted it
	moved     bool  // the server says that the slot is at another
	to        string
}

// settle takes in the outcomes of a batch, in its order. It reports whether a channel that had receivers has none any
// more, and whether such events, or others that would be sent around, are to be sent again in a moment only.
func (o *outbox) settle(l *lane, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	b.done = b.done[:0]
	deserted, stirred = o.settleLocking(l, b, outcomes, failure)
	for i, c := range b.done {
		c.done <- struct{}{} // outside the lock, which is the first that they want
		b.done[i] = nil
	}
	return deserted, stirred
}

func (o *outbox) settleLocking(l *lane, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	l.lastErr = failure
	var moved []int
	for i, it := range b.items {
		out, s := &outcomes[i], it.stream
		it.flying = false
		s.inFlight--
		if it.isLarge() {
			l.large -= it.size
		}
		if out.again && o.mu.err != nil {
			*out = outcome{err: o.mu.err}
		}
		if out.err == nil && !out.again && out.receivers == 0 && s.stirs(o.cfg, now) {
			out.again, out.unknown = true, true
			deserted, stirred = true, true
		}
		if out.again {
			it.repeated = it.repeated || out.unknown
			it.doc = nil // what it says of numbers may be another by then
			s.stalled = true
			if out.moved {
				s.moved = true
				o.redirectLocked(l, s.slot, out.to)
				if home := o.homeLocked(s.slot); home.writers == 0 {
					home.lastErr = failure // for who waits there
				}
				moved = append(moved, s.slot)
			}
			continue
		}
		it.settled = true
		if out.err == nil && it.seq != 0 && !it.dead && s.window != nil {
			it.doc = s.window.Put(now, it.seq, it.doc)
		}
		l.leave(it)
		s.sent(now)
		if out.err == nil {
			deserted = deserted || out.receivers == 0 && s.heard
			s.heard, s.alone, s.bounced = out.receivers > 0, time.Time{}, 0
		}
	}
	l.aloft -= len(b.items)
	for _, s := range b.streams {
		// What is to be sent again stays in front, in order, and nothing newer on the channel is sent before it: not until
		// all that was sent before that became known is settled.
		s.dropSettled()
		if s.inFlight == 0 {
			s.stalled = false
			if rest := s.bounces(); rest > suspectPoll { // the next question about the topology ends it, or one after that
				s.rest = now.Add(rest)
				o.mu.resting[s] = struct{}{}
			} else {
				stirred = stirred || rest > 0
			}
		}
		s.prune()
		s.refloor()
		l.markBy(s.markAt)
		if s.leaving {
			o.goHomeLocked(s)
		}
		if s.lane == l {
			l.list(s)
		}
	}
	for _, slot := range moved {
		for _, s := range o.mu.bySlot[slot] {
			o.goHomeLocked(s)
		}
	}
	for i, it := range b.items {
		if out := outcomes[i]; !out.again {
			if c := o.finishLocked(it, out); c != nil { // from here on the item is its caller's again
				b.done = append(b.done, c)
			}
		}
	}
	l.note()
	l.makeRoom()
	return deserted, stirred
}

// finishLocked tells an item's caller how it ended, unless the caller has left. It returns the call if that was the last.
func (o *outbox) finishLocked(it *item, out outcome) (ended *call) {
	c := it.call
	it.call = nil
	if it.dead {
		return nil
	}
	if out.err != nil && it.seq != 0 {
		it.stream.giveUp(it.seq)
	}
	c.results[it.index] = transport.Result{Receivers: out.receivers, Repeated: it.repeated, Seq: it.seq, Err: out.err}
	if c.release() {
		return c
	}
	return nil
}

// forget drops the streams of which nothing is on its way: after close, and without writers, all of them.
func (o *outbox) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, s := range o.mu.streams {
		if len(s.queue) > 0 || s.inFlight > 0 {
			continue
		}
		s.lane.remove(s)
		if s.window != nil {
			s.window.Drop()
			delete(o.mu.publishers, s.publisher)
			o.views.retires(s.publisher)
		}
		delete(o.mu.streams, key)
		o.mu.bySlot[s.slot] = slices.DeleteFunc(o.mu.bySlot[s.slot], func(other *stream) bool { return other == s })
		if len(o.mu.bySlot[s.slot]) == 0 {
			delete(o.mu.bySlot, s.slot)
		}
	}
}

// open lets events in.
func (o *outbox) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.err = nil
}

// close fails everything that is queued, and what comes until open, with err. What is in flight is settled by its
// writer, and not sent again.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.err = err
	for _, s := range o.mu.streams {
		s.queue = slices.DeleteFunc(s.queue, func(it *item) bool {
			if it.flying {
				return false
			}
			s.lane.leave(it)
			if c := o.finishLocked(it, outcome{err: err}); c != nil {
				c.done <- struct{}{}
			}
			return true
		})
		s.refloor()
	}
	for _, l := range o.mu.lanes {
		l.makeRoom()
	}
}
