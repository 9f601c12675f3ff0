package redis

import (
	"context"

	"github.com/shardbus/shardbus/transport"
)

// Subscribe makes a topic's events arrive, see transport.Transport. It returns when the servers have confirmed every
// channel of the topic and, with Config.Repair, publishers have said where they stand, for which it waits 250 ms at most:
// what they publish from then on arrives, or is a Gap. It fails when ctx ends, and at once when the login or a channel is refused (ErrAuth,
// ErrPermission).
func (t *Transport) Subscribe(ctx context.Context, topic transport.Topic) error {
	return t.subscriber.Subscribe(ctx, topic)
}

// Unsubscribe ends what Subscribe began, see transport.Transport. An error is the context's: the servers have not
// confirmed, but nothing arrives any more all the same.
func (t *Transport) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	return t.subscriber.Unsubscribe(ctx, topic)
}
