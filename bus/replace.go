package bus

import (
	"context"
	"fmt"
)

// Replace puts a handler, with middleware, lanes, mailbox and all other options of its own, in the
// place of the live subscription of that name, without a moment at which nobody takes the events. It
// returns the new subscription, which is live then. What had entered the old one's mailbox before stays
// there: the old one handles it to its end, retries included, and ends by itself; its Done tells when.
// Each event is handled by one of them, and counted in its Stats. At a transport nothing changes: the
// topic stays subscribed. On a durable topic the old one finishes what it has started, and the new one gets
// all else, retries included.
//
// Order holds. Where both have more than one lane and the topic has a Key, the new one starts no event
// of a key before the old one has done with that key. Otherwise it starts nothing before the old one
// has ended; events wait in its mailbox meanwhile. So a handler that publishes into the full mailbox
// of its own successor would wait for itself: it gets ErrWouldDeadlock.
//
// A pause of the old one is lifted, and the new one is not paused. A Replay by the old one is ErrClosed
// from then on. Options are not taken over, but for one: the new subscription is in the old one's
// group, and takes over its keys. To name another [Group] is ErrInvalidConfig.
//
// When no subscription has that name, or it has begun to end, Replace is ErrNotSubscribed, and nothing
// changes: a misspelt name should not make a second handler. ctx is that of [Topic.Subscribe].
// A handler may replace its own subscription.
func (t *Topic[T]) Replace(ctx context.Context, name string, h func(ctx context.Context, event T) error, opts ...SubscribeOption) (*Subscription, error) {
	o, err := subscribeOptionsOf(ctx, h == nil, opts)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	return t.replace(ctx, name, eventHandler(h, !t.plain(o)), o, special[T]{guarded: true, given: h})
}

// ReplaceMessage is [Topic.Replace] with a handler as SubscribeMessage takes it.
func (t *Topic[T]) ReplaceMessage(ctx context.Context, name string, h func(ctx context.Context, m Message[T]) error, opts ...SubscribeOption) (*Subscription, error) {
	o, err := subscribeOptionsOf(ctx, h == nil, opts)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	return t.replace(ctx, name, messageHandler(h), o, special[T]{given: h})
}

// ReplaceBatch is [Topic.Replace] with a handler as SubscribeBatch takes it.
func (t *Topic[T]) ReplaceBatch(ctx context.Context, name string, h func(ctx context.Context, batch []Message[T]) error, opts ...BatchOption) (*Subscription, error) {
	o, err := batchOptionsOf(ctx, h == nil, opts)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	return t.replace(ctx, name, batchEntry(h), o, special[T]{batch: h, given: h})
}

// Respawn is [Topic.Replace] with keyed actors, as Spawn makes them. Where the old subscription has
// actors, too, all of them have stopped before the first new one is built: it finds what their Stop
// saved. A member of a group can't be replaced by actors; that is ErrInvalidConfig.
func (t *Topic[T]) Respawn(ctx context.Context, name string, build func(ctx context.Context, key string) (Actor[T], error), opts ...ActorOption) (*Subscription, error) {
	c, err := t.newActorSet(ctx, name, build, opts)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	return t.replace(ctx, name, c.handle, c.opts, special[T]{hook: c, given: build})
}

func (t *Topic[T]) replaceError(name string, err error) error {
	return &Error{Op: "replace", Topic: t.info.name, Subscription: name, Err: err}
}

func (t *Topic[T]) replace(ctx context.Context, name string, h Handler, o *subscribeOptions, sp special[T]) (*Subscription, error) {
	if t.fanout.link != nil { // no Subscribe of the topic is half done then
		_, release, err := t.takeTurn(ctx)
		if err != nil {
			return nil, t.replaceError(name, err)
		}
		defer release()
	}
	o, err := t.inGroupOf(name, o, sp)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	s, err := t.newSubscription(ctx, name, h, o, sp)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	s.holdBack()
	old, err := t.fanout.replace(s)
	if err != nil {
		return nil, t.replaceError(name, err)
	}
	s.releaseIfStarted()
	t.bus.announce(&s.Subscription)
	old.Resume()
	if t.info.durable {
		old.returnWaiting() // to s
	}
	old.retire() // its lanes may all have run dry before
	return &s.Subscription, nil
}

// inGroupOf is o with the group of the subscription of that name.
func (t *Topic[T]) inGroupOf(name string, o *subscribeOptions, sp special[T]) (*subscribeOptions, error) {
	fan := &t.fanout
	fan.mu.Lock()
	old := fan.findLocked(name)
	fan.mu.Unlock()
	switch {
	case old == nil:
		return nil, ErrNotSubscribed
	case o.grouped && o.group != old.opts.group: // names of groups are not empty
		return nil, fmt.Errorf("%w: Group %q is named, and the subscription is in %q", ErrInvalidConfig, o.group, old.opts.group)
	case old.opts.grouped && (old.actors || sp.hook != nil):
		return nil, fmt.Errorf("%w: the subscription is in group %q, and actors in a group can't be replaced, nor replace: Drain it first", ErrInvalidConfig, old.opts.group)
	case !old.opts.grouped || o.grouped:
		return o, nil
	}
	own := *o // o may be everybody's
	own.group, own.grouped = old.opts.group, true
	return &own, nil
}
