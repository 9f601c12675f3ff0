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
	if err := t.of(topic.Name).subscribe(ctx, topic); err != nil {
		return fmt.Errorf("redis: subscribe to topic %q: %w", topic.Name, err)
	}
	return nil
}

func (t *Transport) subscribe(ctx context.Context, topic transport.Topic) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if t.isClosed() {
		return transport.ErrClosed
	}
	placement := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}
	if err := placement.Validate(); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrInvalidTopic, err)
	}
	for {
		topic, live, mine, err := t.registry.want(placement)
		if err != nil {
			return err
		}
		t.repairs.listenFirst()
		err = live.wait(ctx)
		if err != nil && ctx.Err() != nil {
			if why := t.registry.why(placement.Topic); why != nil {
				err = fmt.Errorf("%w; before that: %w", err, why)
			}
		}
		switch {
		case err != nil && mine:
			t.registry.unwant(placement.Topic, errAbandoned)
		case errors.Is(err, errAbandoned):
			continue // the caller who began it has left, and we have not
		case err == nil:
			t.repairs.greeted(ctx, topic.channels)
		}
		return err
	}
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
	left := t.registry.unwant(topic.Name, errUnsubscribed)
	limit := time.NewTimer(leaveTimeout)
	defer limit.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !t.registry.gone(left) {
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
