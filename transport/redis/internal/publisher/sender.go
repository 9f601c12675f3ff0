package publisher

import (
	"fmt"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster/redirect"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
)

const (
	batchEvents = 512     // events of one pipeline, at most
	batchBytes  = 1 << 20 // and bytes, unless one event is larger
)

// sender is everything on its way to the servers: the channel queues and the node queues they are
// written through. Its methods do no I/O.
type sender struct {
	cfg     *Settings
	cluster Cluster

	mu struct {
		sync.Mutex
		memories   []*sendwindow.Memory // by class; nil: nothing is remembered
		publishers map[string]struct{}  // whose windows there are
		queues     map[queueKey]*channelQueue
		fresh      []queueKey // of queues, those that Settings.OnNewQueue was not told of
		bySlot     map[int][]*channelQueue
		nodes      map[connkey.Key]*nodeQueue // without an address: slots that nobody owns
		redirects  redirect.Table             // over cluster
		paused     map[*channelQueue]struct{}
		fallbacks  []*fallbacks // by class; nil: events are published at primaries only
		err        error        // not nil: nothing is taken in
	}
}

var _ control.Answerer = (*sender)(nil)

func newSender(cfg *Settings, cluster Cluster) *sender {
	o := &sender{cfg: cfg, cluster: cluster}
	if cfg.Memory != nil {
		for range cfg.Classes.Len() {
			o.mu.memories = append(o.mu.memories, sendwindow.New(*cfg.Memory))
		}
		o.mu.publishers = make(map[string]struct{})
	}
	o.mu.queues = make(map[queueKey]*channelQueue)
	o.mu.bySlot = make(map[int][]*channelQueue)
	o.mu.nodes = make(map[connkey.Key]*nodeQueue)
	o.mu.redirects = redirect.New(cluster)
	o.mu.paused = make(map[*channelQueue]struct{})
	if cfg.Standby {
		for range cfg.Classes.Len() {
			r := new(fallbacks)
			r.update(time.Now(), cluster.Snapshot())
			o.mu.fallbacks = append(o.mu.fallbacks, r)
		}
	}
	return o
}

// nodeQueue returns a node queue.
func (o *sender) nodeQueue(key connkey.Key) *nodeQueue {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.nodeQueueLocked(key)
}

// attach returns a node queue for a writer, which detaches from it at its end. Until
// then the node queue stays, though the primary may be none any more: it may be one again before
// the writer knows.
func (o *sender) attach(key connkey.Key) (l *nodeQueue, detach func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l = o.nodeQueueLocked(key)
	l.writers++
	return l, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		l.writers--
	}
}

// setWriter makes a writer the one of its node, until clearWriter.
func (o *sender) setWriter(l *nodeQueue, w queueWriter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.writer = w
}

func (o *sender) clearWriter(l *nodeQueue, w queueWriter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.writer == w {
		l.writer = nil
	}
}

func (o *sender) nodeQueueLocked(key connkey.Key) *nodeQueue {
	l := o.mu.nodes[key]
	if l == nil {
		l = newNodeQueue(key)
		if key.Addr == "" {
			l.lastErr = control.ErrNoOwner
		}
		o.mu.nodes[key] = l
	}
	return l
}

// channelQueueLocked returns the channel queue of an envelope.
func (o *sender) channelQueueLocked(key queueKey, to *route, env *transport.Envelope) *channelQueue {
	s := o.mu.queues[key]
	if s == nil {
		s = &channelQueue{queueKey: key, slot: to.slot, class: to.class, window: o.sendWindowLocked(key.publisher, to.class)}
		o.mu.queues[key] = s
		o.mu.bySlot[s.slot] = append(o.mu.bySlot[s.slot], s)
		o.targetLocked(s.slot, s.class).add(s)
		o.mu.fresh = append(o.mu.fresh, key)
		if s.window != nil {
			if o.cfg.Views != nil {
				o.cfg.Views.Publishes(env)
			}
		}
	}
	return s
}

// Positions calls each with the publishers here that are known on a channel: up to which number all
// is resolved, and the last that was assigned.
func (o *sender) Positions(channel string, slot int, each func(publisher string, settled, assigned uint64)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.mu.bySlot[slot] {
		if s.channel == channel && s.publisher != "" {
			each(s.publisher, s.resolved, s.assigned)
		}
	}
}

// applyTopology moves channel queues to the node queues of the primaries that the snapshot names.
// Those with events in flight follow when these are resolved.
func (o *sender) applyTopology() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.redirects.Clear()
	for _, r := range o.mu.fallbacks {
		r.update(time.Now(), o.cluster.Snapshot())
	}
	for s := range o.mu.paused {
		o.resumeLocked(s)
	}
	for _, streams := range o.mu.bySlot {
		for _, s := range streams {
			o.moveLocked(s)
		}
	}
	for key, l := range o.mu.nodes {
		if len(l.queues) == 0 && l.events == 0 && l.writers == 0 {
			if _, known := o.cluster.Snapshot().NodeShard(key.Addr); !known {
				delete(o.mu.nodes, key)
			}
		}
	}
}

func (o *sender) moveLocked(s *channelQueue) {
	home := o.targetLocked(s.slot, s.class)
	s.moving = home != s.node && s.inFlight > 0
	switch {
	case home == s.node:
		s.node.schedule(s)
	case s.inFlight == 0:
		s.node.remove(s)
		s.node.makeRoom()
		home.add(s)
	}
}

// push queues a call's events from the first-th on, as far as there is room, and returns the first
// that did not fit and what to wait for then. Once all are queued it lets go of the call, which may
// be done by then. The caller is to have w, if it is not nil, written with; other writers are told.
func (o *sender) push(c *publishCall, first int) (w queueWriter, next int, space <-chan struct{}, err error) {
	o.mu.Lock()
	w, next, space, err = o.pushLocked(c, first)
	fresh := o.mu.fresh
	o.mu.fresh = nil
	o.mu.Unlock()
	if o.cfg.OnNewQueue != nil {
		for _, key := range fresh {
			o.cfg.OnNewQueue(key.publisher, key.channel)
		}
	}
	return w, next, space, err
}

func (o *sender) pushLocked(c *publishCall, first int) (w queueWriter, next int, space <-chan struct{}, err error) {
	for i := first; i < len(c.events); i++ {
		it := &c.events[i]
		if it.env == nil { // refused
			continue
		}
		if o.mu.err != nil {
			return w, i, nil, o.mu.err
		}
		s := o.channelQueueLocked(queueKey{publisher: it.env.Publisher, channel: it.channel}, &it.route, it.env)
		l := s.node
		if l.full(o.cfg, it.size) {
			return w, i, l.room(), nil
		}
		if w == nil {
			w = l.writer
		}
		it.queue = s
		s.pending = append(s.pending, it)
		l.events++
		l.bytes += it.size
		c.unresolved++
		if l.makeReady(s); w == nil || w.node() != l {
			l.signal()
		}
	}
	if c.release() {
		c.done <- struct{}{}
	}
	return w, len(c.events), nil, nil
}

// abandon ends a call's open events with err: its caller waits no longer. What was written may
// still be accepted; its number is uncertain from now on.
func (o *sender) abandon(c *publishCall, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range c.events {
		it := &c.events[i]
		if it.queue == nil || it.caller == nil {
			continue
		}
		s := it.queue
		if last := s.node.lastErr; last != nil {
			c.results[i].Err = fmt.Errorf("redis: publish to %q: %w; before that: %w", it.env.Topic, err, last)
		} else {
			c.results[i].Err = fmt.Errorf("redis: publish to %q: %w", it.env.Topic, err)
		}
		it.dead, s.hasDead = true, true
		if it.seq != 0 {
			s.abandonSeq(it.seq)
		}
	}
	for i := range c.events {
		if s := c.events[i].queue; s != nil {
			s.prune()
			s.node.makeRoom()
		}
	}
}

// outcome is what became of one event of a batch.
type outcome struct {
	receivers int
	err       error // final
	retry     bool  // to be sent again
	unknown   bool  // the server may have accepted it
	moved     bool  // the server says that the slot is at another
	to        string
}

// applyOutcomes takes in the outcomes of a batch, in its order. It reports whether a channel that
// had receivers has none any more, and whether such events, or others that would be sent around,
// are to be sent again in a moment only.
func (o *sender) applyOutcomes(l *nodeQueue, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	b.done = b.done[:0]
	deserted, stirred = o.applyOutcomesLocking(l, b, outcomes, failure)
	for i, c := range b.done {
		c.done <- struct{}{} // outside the lock, which is the first that they want
		b.done[i] = nil
	}
	return deserted, stirred
}

func (o *sender) applyOutcomesLocking(l *nodeQueue, b *batch, outcomes []outcome, failure error) (deserted, stirred bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	l.lastErr = failure
	var moved []int
	for i, it := range b.events {
		out, s := &outcomes[i], it.queue
		it.inFlight = false
		s.inFlight--
		if it.isLarge() {
			l.largeInFlight -= it.size
		}
		if out.retry && o.mu.err != nil {
			*out = outcome{err: o.mu.err}
		}
		if out.err == nil && !out.retry && out.receivers == 0 && s.resendsUnheard(o.cfg, now) {
			out.retry, out.unknown = true, true
			deserted, stirred = true, true
		}
		if out.retry {
			it.repeated = it.repeated || out.unknown
			it.doc = nil // what it says of numbers may be another by then
			s.retrying = true
			if out.moved {
				s.redirected = true
				o.mu.redirects.Note(redirect.Moved{Slot: s.slot, From: l.Addr, To: out.to, Target: o.targetLocked(s.slot, s.class).Addr}, now)
				if home := o.targetLocked(s.slot, s.class); home.writers == 0 {
					home.lastErr = failure // for who waits there
				}
				moved = append(moved, s.slot)
			}
			continue
		}
		it.done = true
		if out.err == nil && it.seq != 0 && !it.dead && s.window != nil {
			it.doc = s.window.Put(now, it.seq, it.doc)
		}
		l.release(it)
		s.scheduleWatermark(now)
		if out.err == nil {
			deserted = deserted || out.receivers == 0 && s.hadReceivers
			s.hadReceivers, s.unheardSince, s.redirects = out.receivers > 0, time.Time{}, 0
		}
	}
	l.inFlight -= len(b.events)
	for _, s := range b.queues {
		// What is to be sent again stays in front, in order, and nothing newer on the channel is
		// sent before it: not until all that was sent before that became known is resolved.
		s.dropDone()
		if s.inFlight == 0 {
			s.retrying = false
			if rest := s.redirectLoop(); rest > shortPause { // the next question about the topology ends it, or one after that
				s.pausedUntil = now.Add(rest)
				o.mu.paused[s] = struct{}{}
			} else {
				stirred = stirred || rest > 0
			}
		}
		s.prune()
		s.updateResolved()
		l.watermarkBy(s.watermarkAt)
		if s.moving {
			o.moveLocked(s)
		}
		if s.node == l {
			l.makeReady(s)
		}
	}
	for _, slot := range moved {
		for _, s := range o.mu.bySlot[slot] {
			o.moveLocked(s)
		}
	}
	for i, it := range b.events {
		if out := outcomes[i]; !out.retry {
			if c := o.finishLocked(it, out); c != nil { // from here on the event is its caller's again
				b.done = append(b.done, c)
			}
		}
	}
	l.updateCounts()
	l.makeRoom()
	return deserted, stirred
}

// finishLocked tells an event's caller how it ended, unless the caller has left. It returns the
// call if that was the last.
func (o *sender) finishLocked(it *pendingEvent, out outcome) (ended *publishCall) {
	c := it.caller
	it.caller = nil
	if it.dead {
		return nil
	}
	if out.err != nil && it.seq != 0 {
		it.queue.abandonSeq(it.seq)
	}
	c.results[it.index] = transport.Result{Receivers: out.receivers, Repeated: it.repeated, Seq: it.seq, Err: out.err}
	if c.release() {
		return c
	}
	return nil
}
