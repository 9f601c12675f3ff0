package bus

import (
	"context"
	"sync/atomic"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/transport"
)

// feed gives the events of a consumer of the log to its subscriptions on this bus: to the one of that
// name, or to the members of the group. It implements consumer.Target.
type feed[T any] struct {
	fan     *fanout[T]
	of      *feeds[T]
	name    string
	grouped bool
	actors  bool // of the group's one subscription here
	start   transport.Start

	// consumer belongs to whose turn it is at the log, and to anybody under the fan-out's lock to read;
	// nil before Start.
	consumer *consumer.Consumer

	// Under the fan-out's lock.
	target  target[T]                     // nil while nobody takes events
	subs    map[*subscription[T]]struct{} // that may have events, those that were replaced included
	closing bool                          // the last subscription has left
	ending  bool                          // close was called
	over    bool                          // it had no consumer to close
	closed  chan struct{}                 // closed when the name is free again

	limit atomic.Int64 // see Limit; written under the fan-out's lock
}

// joinLocked adds a subscription.
func (fd *feed[T]) joinLocked(s *subscription[T]) {
	fd.subs[s] = struct{}{}
	if fd.target = target[T](s); s.group != nil {
		fd.target = s.group
	}
	fd.limitLocked()
}

// limitLocked sets how many events may be with the lanes: what fits in their mailboxes, and one in
// hand for each.
func (fd *feed[T]) limitLocked() {
	limit := 0
	for s := range fd.subs {
		if s.attached {
			limit += len(s.lanes) * (s.opts.capacity + 1)
		}
	}
	fd.limit.Store(int64(limit))
}

// leaveLocked takes in that a subscription has left the fan-out. With the last of them the feed ends.
func (fd *feed[T]) leaveLocked() {
	if fd.limitLocked(); fd.limit.Load() == 0 {
		fd.target, fd.closing = nil, true
	}
}

// Limit implements consumer.Target.
func (fd *feed[T]) Limit() int { return int(fd.limit.Load()) }

// Deliver implements consumer.Target.
func (fd *feed[T]) Deliver(e *consumer.Event) bool {
	fan := fd.fan
	hash := keyHash(e.Envelope.Key)
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if fd.target == nil {
		return false
	}
	fan.mu.received++
	l := fd.target.choose(hash)
	e.CountIn(&l.cfg.inbox.committed)
	l.receive(&cell[T]{head: head{env: e.Envelope}}, keyInfo{hash: hash, key: e.Envelope.Key, known: true})
	l.commit()
	return true
}

// Adopt implements consumer.Target.
func (fd *feed[T]) Adopt(e *consumer.Event) bool {
	fan := fd.fan
	hash := keyHash(e.Envelope.Key)
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if fd.target == nil {
		return false
	}
	fd.target.choose(hash).adopt(e)
	return true
}

// lanes is all lanes that may have events of the feed.
func (fd *feed[T]) lanes() []*lane[T] {
	fd.fan.mu.Lock()
	defer fd.fan.mu.Unlock()
	var lanes []*lane[T]
	for s := range fd.subs {
		for _, l := range s.lanes {
			if l != nil {
				lanes = append(lanes, l)
			}
		}
	}
	return lanes
}

// Returning implements consumer.Target.
func (fd *feed[T]) Returning(any) {
	for _, l := range fd.lanes() {
		l.returnSoon()
	}
}

// Lost implements consumer.Target.
func (fd *feed[T]) Lost(lease any, err error) {
	for _, l := range fd.lanes() {
		l.attempts.log.cancelIf(lease, err)
		l.returnSoon()
	}
}

// Gap implements consumer.Target.
func (fd *feed[T]) Gap(g transport.Gap) {
	fan := fd.fan
	fan.mu.Lock()
	var subs []*Subscription
	for s := range fd.subs {
		if s.attached {
			subs = append(subs, &s.Subscription)
		}
	}
	fan.mu.Unlock()
	for _, s := range subs {
		s.reportGap(g)
	}
}

// returnAll begins the end of the feed at the log.
func (fd *feed[T]) returnAll() {
	if c := fd.membership(); c != nil {
		c.Return()
	}
}

func (fd *feed[T]) membership() *consumer.Consumer {
	fd.fan.mu.Lock()
	defer fd.fan.mu.Unlock()
	return fd.consumer
}

// released waits until everything that was started has ended and is in the log, and the leases are given
// back.
func (fd *feed[T]) released(ctx context.Context) error {
	if c := fd.membership(); c != nil {
		return c.Released(ctx)
	}
	return nil
}

// close ends the membership. It is called once, after the last subscription has left.
func (fd *feed[T]) close(ctx context.Context) (err error) {
	fan := fd.fan
	fan.mu.Lock()
	c := fd.consumer
	fd.over = c == nil // one that is on its way is not taken any more
	fan.mu.Unlock()
	if c != nil {
		if err = c.Close(ctx); err != nil {
			fd.of.durable.noteUnreleased(fan.info.name, fd.name, err)
		}
	}
	fan.mu.Lock()
	delete(fd.of.byName, fd.name)
	fan.mu.Unlock()
	close(fd.closed)
	fan.core.changes.Notify()
	return err
}

// busyLocked reports whether anything of the feed is under way at the log.
func (fd *feed[T]) busyLocked() bool { return fd.consumer != nil && fd.consumer.Busy() }
