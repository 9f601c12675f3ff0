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

	memories []*windowMemory // by class; nil: nothing is remembered

	// mu is taken before a node queue's lock. Who has all of them, by lockAll, may change
	// everything; what a node queue's lock guards takes only that one. So mu or any such lock will
	// do to read err, and on which node queue a channel queue is.
	mu struct {
		sync.RWMutex
		locked     []*nodeQueue        // by lockAll
		publishers map[string]*askable // whose windows there are
		retired    string              // the last that was one of these
		queues     map[queueKey]*channelQueue
		bySlot     map[int][]*channelQueue
		nodes      map[connkey.Key]*nodeQueue // without an address: slots that nobody owns
		redirects  redirect.Table             // over cluster
		paused     map[*channelQueue]struct{}
		fallbacks  []*fallbacks // by class; nil: events are published at primaries only
		err        error        // not nil: nothing is taken in
	}
}

// askable is a publisher that can be asked, and has channel queues.
type askable struct {
	queues    int                 // channel queues
	forgotten map[uint64]struct{} // hashes of channels
}

var _ control.Answerer = (*sender)(nil)

func newSender(cfg *Settings, cluster Cluster) *sender {
	o := &sender{cfg: cfg, cluster: cluster}
	if cfg.Memory != nil {
		for range cfg.Classes.Len() {
			o.memories = append(o.memories, &windowMemory{memory: sendwindow.New(*cfg.Memory)})
		}
		o.mu.publishers = make(map[string]*askable)
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

// lockAll takes mu and the locks of all node queues. Nobody else takes more than one of those, and
// nobody takes mu who has one.
func (o *sender) lockAll() {
	o.mu.Lock()
	for _, l := range o.mu.nodes {
		l.mu.Lock()
		o.mu.locked = append(o.mu.locked, l)
	}
}

func (o *sender) unlockAll() {
	for _, l := range o.mu.locked {
		l.mu.Unlock()
	}
	clear(o.mu.locked)
	o.mu.locked = o.mu.locked[:0]
	o.mu.Unlock()
}

// nodeQueue returns a node queue.
func (o *sender) nodeQueue(key connkey.Key) *nodeQueue {
	o.lockAll()
	defer o.unlockAll()
	return o.nodeQueueLocked(key)
}

// attach returns a node queue for a writer, which detaches from it at its end. Until
// then the node queue stays, though the primary may be none any more: it may be one again before
// the writer knows.
func (o *sender) attach(key connkey.Key) (l *nodeQueue, detach func()) {
	o.lockAll()
	defer o.unlockAll()
	l = o.nodeQueueLocked(key)
	l.writers++
	return l, func() {
		o.lockAll()
		defer o.unlockAll()
		l.writers--
	}
}

// setWriter makes a writer the one of its node, until clearWriter.
func (o *sender) setWriter(l *nodeQueue, w queueWriter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writer = w
}

func (o *sender) clearWriter(l *nodeQueue, w queueWriter) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, s := range o.mu.bySlot[slot] {
		if s.channel == channel && s.publisher != "" {
			s.node.mu.Lock()
			resolved, assigned := s.resolved, s.assigned
			s.node.mu.Unlock()
			each(s.publisher, resolved, assigned)
		}
	}
}

// applyTopology moves channel queues to the node queues of the primaries that the snapshot names.
// Those with events in flight follow when these are resolved.
func (o *sender) applyTopology() {
	o.lockAll()
	defer o.unlockAll()
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
	for {
		next, space, err = o.pushKnown(c, first, &w)
		if next == len(c.events) || space != nil || err != nil {
			return w, next, space, err
		}
		if first = next; o.addChannelQueue(&c.events[first]) && o.cfg.OnNewQueue != nil {
			o.cfg.OnNewQueue(c.events[first].env.Publisher, c.events[first].channel)
		}
	}
}

// addChannelQueue makes the channel queue of an event, and reports whether it is new.
func (o *sender) addChannelQueue(it *pendingEvent) bool {
	o.lockAll()
	defer o.unlockAll()
	n := len(o.mu.queues)
	o.channelQueueLocked(it.queueKey(), &it.route, it.env)
	return len(o.mu.queues) > n
}

// pushKnown queues a call's events up to the first whose channel queue is yet to be made. w is set
// to the writer of the first node queue, if it has one and w is nil.
func (o *sender) pushKnown(c *publishCall, first int, w *queueWriter) (next int, space <-chan struct{}, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var l *nodeQueue // whose lock is held
	defer func() {
		if l != nil {
			l.mu.Unlock()
		}
	}()
	for i := first; i < len(c.events); i++ {
		it := &c.events[i]
		if it.env == nil { // refused
			continue
		}
		if o.mu.err != nil {
			return i, nil, o.mu.err
		}
		s := o.mu.queues[it.queueKey()]
		if s == nil {
			return i, nil, nil
		}
		if l != s.node {
			if l != nil {
				l.mu.Unlock()
			}
			l = s.node
			l.mu.Lock()
		}
		if l.full(o.cfg, it.size) {
			return i, l.room(), nil
		}
		if *w == nil {
			*w = l.writer
		}
		it.queue = s
		s.leaving = false
		s.pending = append(s.pending, it)
		l.events++
		l.bytes += it.size
		c.unresolved.Add(1)
		if l.makeReady(s); *w == nil || (*w).node() != l {
			l.signal()
		}
	}
	if c.release() {
		c.done <- struct{}{}
	}
	return len(c.events), nil, nil
}

// abandon ends a call's open events with err: its caller waits no longer. What was written may
// still be accepted; its number is uncertain from now on.
func (o *sender) abandon(c *publishCall, err error) {
	o.lockAll()
	defer o.unlockAll()
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
