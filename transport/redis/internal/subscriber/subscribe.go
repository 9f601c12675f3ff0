package subscriber

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// Subscribe makes a topic's events arrive. It returns when the servers have confirmed every channel of the topic and, with
// repair, publishers have said where they stand.
func (s *Subscriber) Subscribe(ctx context.Context, topic transport.Topic) error {
	// Ten thousand may wait here at once. All but the waiting is done by others, so that a goroutine's first stack, of
	// 2 KB, does: to have it grow costs more than the rest.
	a, err := s.beginSubscribe(ctx, topic)
	for a != nil {
		select {
		case <-a.Done():
		case <-ctx.Done():
		}
		a, err = s.endSubscribe(ctx, a)
	}
	return err
}

func (s *Subscriber) isClosed() bool {
	select {
	case <-s.Closed:
		return true
	default:
		return false
	}
}

// beginSubscribe returns what to wait for.
//
//go:noinline
func (s *Subscriber) beginSubscribe(ctx context.Context, topic transport.Topic) (*subscribeCall, error) {
	placement := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}
	err := placement.Validate()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case s.isClosed():
		err = transport.ErrClosed
	case err != nil:
		err = fmt.Errorf("%w: %w", transport.ErrInvalidTopic, err)
	default:
		return s.enqueueSubscribe(placement, topic), nil
	}
	return nil, subscribeError(topic.Name, err)
}

func (s *Subscriber) enqueueSubscribe(placement router.Placement, view transport.Topic) *subscribeCall {
	a := newSubscribeCall(placement)
	a.view = view
	s.subscriptions.enqueue(a)
	if s.isClosed() { // which may have gone unnoticed by those who ended the waiting of all others
		s.subscriptions.fail(transport.ErrClosed)
	}
	s.nacks.ensureInbox(placement.Topic)
	return a
}

// endSubscribe returns how a Subscribe ended, or what it waits for now: the caller who began it has left, and we have not.
//
//go:noinline
func (s *Subscriber) endSubscribe(ctx context.Context, a *subscribeCall) (*subscribeCall, error) {
	var err error
	select {
	case <-a.Done():
		err = a.Err()
	default:
		err = s.giveUp(ctx, a)
	}
	if err == nil {
		return nil, nil
	}
	s.subscriptions.abandon(a)
	if errors.Is(err, errAbandoned) {
		if ctx.Err() == nil {
			return s.enqueueSubscribe(a.Placement(), a.view), nil
		}
		err = context.Cause(ctx)
	}
	return nil, subscribeError(a.Placement().Topic, err)
}

func subscribeError(topic string, err error) error {
	return fmt.Errorf("redis: subscribe to topic %q: %w", topic, err)
}

// giveUp is when the caller of Subscribe does not wait any longer. If that was for publishers to answer, it is subscribed.
func (s *Subscriber) giveUp(ctx context.Context, a *subscribeCall) error {
	why := s.subscriptions.connectError(a.Placement().Topic)
	err := s.subscriptions.cancel(a, context.Cause(ctx))
	if err != nil && why != nil {
		return fmt.Errorf("%w; before that: %w", err, why)
	}
	return err
}

// errUnsubscribed ends a Subscribe during which somebody called Unsubscribe.
var errUnsubscribed = errors.New("it was unsubscribed meanwhile")

// leaveTimeout is how long Unsubscribe waits for the servers' confirmation. What it promises does not depend on it.
const leaveTimeout = 2 * time.Second

// Unsubscribe ends what Subscribe began. An error is the context's: the servers have not confirmed, but nothing arrives
// any more all the same.
func (s *Subscriber) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	left := s.subscriptions.removeTopic(topic.Name, errUnsubscribed)
	limit := time.NewTimer(leaveTimeout)
	defer limit.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !s.subscriptions.left(left) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis: unsubscribe from topic %q: %w", topic.Name, context.Cause(ctx))
		case <-limit.C:
			return nil
		case <-s.Closed:
			return nil
		case <-poll.C:
		}
	}
	return nil
}
