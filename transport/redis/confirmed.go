package redis

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

// confirmed notes that channels are subscribed on f, and calls each with the channel of each name; nil if it is not listed.
// They come by the thousand, and so does who wants to know: they are taken together.
func (r *registry) confirmed(f *feed, all []happening, now time.Time, each func(name string, ch *channel)) {
	r.lock()
	defer r.mu.Unlock()
	for i := range all {
		each(all[i].channel, r.confirmedLocked(f, all[i].channel, now))
	}
}

func (r *registry) confirmedLocked(f *feed, name string, now time.Time) *channel {
	ch := r.mu.channels[name]
	if ch == nil {
		return nil
	}
	if r.copiedLocked(ch, f) {
		return ch
	}
	if ch.asked == f {
		ch.asked = nil
	}
	slot := int(ch.slot)
	if before := ch.own.Load(); before != nil && ch.moved == transport.Unknown && r.otherShard(before.addr, f.addr) {
		ch.moved = transport.Migration // a MOVED was first to tell
	}
	owner := r.ownerLocked(slot)
	if ch.moved != transport.Unknown && owner == f.addr {
		ch.fault(ch.moved)
		ch.moved = transport.Unknown
	}
	r.settleAtLocked(ch, f)
	if owner != f.addr { // the slot moved while the question was on its way
		r.markLocked(slot)
	}
	if ch.users == 0 {
		r.markForLocked(f.addr, slot)
		return ch
	}
	r.arrivedLocked(ch, now)
	return ch
}

// arrivedLocked follows when a channel that is wanted is at its home.
func (r *registry) arrivedLocked(ch *channel, now time.Time) {
	ch.begin(now)
	waiters := ch.waiting
	ch.waiting = nil
	for w := waiters; w != nil; w = w.next {
		w.await.confirmedLocked()
	}
	if !r.t.repairs.greet(now, ch, waiters) {
		settle(waiters)
	}
}

// otherShard reports whether two nodes are known and serve different slots.
func (r *registry) otherShard(a, b string) bool {
	if a == b {
		return false
	}
	snapshot := r.topology.snapshot.Load()
	one, known := snapshot.NodeShard(a)
	two, both := snapshot.NodeShard(b)
	return known && both && one != two
}
