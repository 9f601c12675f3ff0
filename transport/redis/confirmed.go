package redis

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

// confirmed notes that channels are subscribed on f, and calls each with the channel of each name; nil if it is not listed.
// They come by the thousand, and so does who wants to know: they are taken together.
func (r *subscriptions) confirmed(f *session, all []pushEvent, now time.Time, each func(name string, ch *channel)) {
	r.lock()
	defer r.mu.Unlock()
	for i := range all {
		each(all[i].channel, r.confirmedLocked(f, all[i].channel, now))
	}
}

func (r *subscriptions) confirmedLocked(f *session, name string, now time.Time) *channel {
	ch := r.mu.channels[name]
	if ch == nil {
		return nil
	}
	if r.confirmReplicaLocked(ch, f) {
		return ch
	}
	if ch.pendingOn == f {
		ch.pendingOn = nil
	}
	slot := int(ch.slot)
	if before := ch.source.Load(); before != nil && ch.moveReason == transport.Unknown && r.otherShard(before.addr, f.addr) {
		ch.moveReason = transport.Migration // a MOVED was first to tell
	}
	owner := r.ownerLocked(slot)
	if ch.moveReason != transport.Unknown && owner == f.addr {
		ch.fault(ch.moveReason)
		ch.moveReason = transport.Unknown
	}
	r.confirmOnLocked(ch, f)
	if owner != f.addr { // the slot moved while the question was on its way
		r.markLocked(slot)
	}
	if ch.refs == 0 {
		r.markForLocked(f.addr, slot)
		return ch
	}
	r.startLocked(ch, now)
	return ch
}

// startLocked follows when a channel that is wanted is at its home.
func (r *subscriptions) startLocked(ch *channel, now time.Time) {
	ch.start(now)
	waiters := ch.waiting
	ch.waiting = nil
	for w := waiters; w != nil; w = w.next {
		w.call.confirmedLocked()
	}
	if !r.t.nacks.requestBaseline(now, ch, waiters) {
		releaseWaiters(waiters)
	}
}

// otherShard reports whether two nodes are known and serve different slots.
func (r *subscriptions) otherShard(a, b string) bool {
	if a == b {
		return false
	}
	snapshot := r.topology.snapshot.Load()
	one, known := snapshot.NodeShard(a)
	two, both := snapshot.NodeShard(b)
	return known && both && one != two
}
