package bus

import (
	"context"
	"errors"
	"sync"
)

// Close gives the topic up: nobody may publish or subscribe any more, its subscriptions are drained,
// all at once, as [Subscription.Drain] does, the transport is told to unsubscribe, and the bus forgets
// the topic. From then on NewTopic may make it again, with another type or configuration. From the call
// on Publish, Subscribe and the like return ErrTopicClosed, to handlers too.
//
// When ctx ends first, what waits is abandoned, as Drain says, and the error names each subscription
// and what was left. The topic is given up all the same; handlers that still run are known to the bus
// until they return. Closing again does nothing but wait. From a handler or an OnGap of the topic
// Close returns ErrWouldDeadlock.
//
// A durable topic stays in its log with all its consumers, which go on where they were when they are
// subscribed again, here or elsewhere: see [Topic.Delete] and [Topic.Forget]. What its subscriptions had
// not started is returned to the log. Calls of Publish that had begun return by themselves.
//
// Of a topic that is not durable nothing is kept in process. Nor is anything at a transport that is a
// [transport.Forgetter], as transport/memory and transport/redis are: after
// [transport.Capabilities].Remembers it forgets the numbers of what was published. A topic that is made
// again by then goes on with them; one that is made later has another publisher, whose numbers begin
// with 1. Either way no number of a publisher, and no ID, is given twice. Another transport keeps how
// far it has numbered the topic's events.
func (t *Topic[T]) Close(ctx context.Context) error {
	fail := func(err error, detail string) error {
		return &Error{Op: "close topic", Topic: t.info.name, Err: err, Detail: detail}
	}
	if ctx == nil {
		return fail(ErrNilContext, "")
	}
	if r := t.bus.runnerHere(); r != nil && r.subscription().fromTopic(t.info) {
		return fail(ErrWouldDeadlock, r.role()+" can't wait for its own topic to close; call it from another goroutine")
	}
	if first := t.fanout.close(); first && t.chain != nil {
		close(t.chain.closed)
	}
	var err error
	switch {
	case t.info.durable:
		err = t.drainAll(ctx)
		t.bus.durable.appender.Forget(t.info.name)
		t.bus.forgetTopic(t, t.info, nil)
	case t.fanout.link == nil:
		err = t.drainAll(ctx)
		t.bus.forgetTopic(t, t.info, nil)
	default:
		// What is on its way to the transport is to come back before Drain looks.
		sent := t.bus.changes.Wait(ctx, t.fanout.noSends)
		err = errors.Join(sent, t.drainAll(ctx), t.giveUp(ctx))
	}
	if err != nil {
		return fail(err, "")
	}
	return nil
}

// giveUp unsubscribes at the transport and has the bus forget the topic, once: another one may have
// its name afterwards. If somebody is at the transport for longer than ctx lasts, the bus does it in
// its own time.
func (t *Topic[T]) giveUp(ctx context.Context) error {
	link := t.fanout.link
	if err := link.beginNow(ctx); err != nil {
		t.bus.cleanup(t.giveUp)
		return err
	}
	defer link.end()
	if link.removed {
		return nil
	}
	closed := &closedTopic{address: t.info.address(), publisher: t.info.publisher}
	err := link.transport.Unsubscribe(ctx, closed.address)
	link.removed = true
	if !t.fanout.noSends() {
		closed.sends = t.fanout.noSends
	}
	if t.bus.forgetTopic(t, t.info, closed) {
		t.bus.forgetNow(ctx, closed)
	}
	return err
}

// drainAll drains every subscription of the topic that has not ended, also those that were replaced.
func (t *Topic[T]) drainAll(ctx context.Context) error {
	var draining sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, s := range t.bus.subscriptions() {
		if !s.fromTopic(t.info) {
			continue
		}
		draining.Go(func() {
			if err := s.Drain(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	draining.Wait()
	return errors.Join(errs...)
}

func (s *Subscription) fromTopic(info *topicInfo) bool { return s.info == info }

// forgetTopic takes a topic that was closed off the list, with what Health had to tell of it. closed is
// what a transport is to forget; nil: nothing. It reports whether forgetNow is to be called for that.
func (b *Bus) forgetTopic(t topicHandle, info *topicInfo, closed *closedTopic) (now bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics.CompareAndDelete(info.name, t) && closed != nil {
		now = b.closeTopicLocked(closed)
	}
	for name, s := range b.mu.stopped {
		if s.fromTopic(info) {
			delete(b.mu.stopped, name)
		}
	}
	return now
}

// close refuses publishers and subscriptions from now on, and reports whether it is the first to do so.
func (fan *fanout[T]) close() (first bool) {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	first = !fan.mu.closed
	fan.mu.closed = true
	fan.changed() // a plan of a closed topic has no fast path
	return first
}

// noSends reports whether every Publish through the transport has returned.
func (fan *fanout[T]) noSends() bool {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return fan.loopback.publishing == 0
}
