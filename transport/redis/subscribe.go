package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// Subscribe makes a topic's events arrive, see transport.Transport. It returns when the servers have confirmed every
// channel of the topic and, with Config.Repair, publishers have said where they stand, for which it waits 250 ms at most:
// what they publish from then on arrives, or is a Gap. It fails when ctx ends, and at once when the login or a channel is refused (ErrAuth,
// ErrPermission).
func (t *Transport) Subscribe(ctx context.Context, topic transport.Topic) error {
	// Ten thousand may wait here at once. All but the waiting is done by others, so that a goroutine's first stack, of
	// 2 KB, does: to have it grow costs more than the rest.
	t = t.of(topic.Name)
	a, err := t.beginSubscribe(ctx, topic)
	for a != nil {
		select {
		case <-a.Done():
		case <-ctx.Done():
		}
		a, err = t.endSubscribe(ctx, a)
	}
	return err
}

// beginSubscribe returns what to wait for.
//
//go:noinline
func (t *Transport) beginSubscribe(ctx context.Context, topic transport.Topic) (*subscribeCall, error) {
	placement := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}
	err := placement.Validate()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case t.isClosed():
		err = transport.ErrClosed
	case err != nil:
		err = fmt.Errorf("%w: %w", transport.ErrInvalidTopic, err)
	default:
		return t.enqueueSubscribe(placement, topic), nil
	}
	return nil, subscribeError(topic.Name, err)
}

func (t *Transport) enqueueSubscribe(placement router.Placement, view transport.Topic) *subscribeCall {
	a := newSubscribeCall(placement)
	a.view = view
	t.subscriptions.enqueue(a)
	if t.isClosed() { // which may have gone unnoticed by those who ended the waiting of all others
		t.subscriptions.fail(transport.ErrClosed)
	}
	t.nacks.ensureInbox()
	return a
}

// endSubscribe returns how a Subscribe ended, or what it waits for now: the caller who began it has left, and we have not.
//
//go:noinline
func (t *Transport) endSubscribe(ctx context.Context, a *subscribeCall) (*subscribeCall, error) {
	var err error
	select {
	case <-a.Done():
		err = a.Err()
	default:
		err = t.giveUp(ctx, a)
	}
	if err == nil {
		return nil, nil
	}
	t.subscriptions.abandon(a)
	if errors.Is(err, errAbandoned) {
		if ctx.Err() == nil {
			return t.enqueueSubscribe(a.Placement(), a.view), nil
		}
		err = context.Cause(ctx)
	}
	return nil, subscribeError(a.Placement().Topic, err)
}

func subscribeError(topic string, err error) error {
	return fmt.Errorf("redis: subscribe to topic %q: %w", topic, err)
}

// giveUp is when the caller of Subscribe does not wait any longer. If that was for publishers to answer, it is subscribed.
func (t *Transport) giveUp(ctx context.Context, a *subscribeCall) error {
	why := t.subscriptions.connectError(a.Placement().Topic)
	err := t.subscriptions.cancel(a, context.Cause(ctx))
	if err != nil && why != nil {
		return fmt.Errorf("%w; before that: %w", err, why)
	}
	return err
}

// errAbandoned ends the waiting of those who wait for a subscription together with the caller who began it.
var errAbandoned = errors.New("redis: the caller that subscribed has left")

// errUnsubscribed ends a Subscribe during which somebody called Unsubscribe.
var errUnsubscribed = errors.New("it was unsubscribed meanwhile")

// leaveTimeout is how long Unsubscribe waits for the servers' confirmation. What it promises does not depend on it.
const leaveTimeout = 2 * time.Second

// Unsubscribe ends what Subscribe began, see transport.Transport. An error is the context's: the servers have not
// confirmed, but nothing arrives any more all the same.
func (t *Transport) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	t = t.of(topic.Name)
	left := t.subscriptions.removeTopic(topic.Name, errUnsubscribed)
	limit := time.NewTimer(leaveTimeout)
	defer limit.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !t.subscriptions.left(left) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis: unsubscribe from topic %q: %w", topic.Name, context.Cause(ctx))
		case <-limit.C:
			return nil
		case <-t.closed:
			return nil
		case <-poll.C:
		}
	}
	return nil
}
