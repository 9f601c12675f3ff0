package redis

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/publisher"
)

// Publish sends events through their channels and returns when the shard's primary has accepted each, or it has
// failed; see transport.Transport. Through a fail-over it goes on trying until ctx ends or Config.PublishTimeout has
// passed (ErrTimeout). It blocks while the queue of a shard is full. An event whose Publish returned an error, other
// than because it was too large or the transport closed, may have been received; if it is missing, subscribers report
// it as Uncertain. Afterwards the envelope's Seq is the number it was given; 0 if it was never written.
func (t *Transport) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	t.publisher.Publish(ctx, envs, results)
}

// Forget drops what is kept of a publisher on a topic, see transport.Forgetter: subscribers are told in
// a last watermark up to which number it has published. It does not wait for that. A subscriber that
// is cut off meanwhile, and back after Config.Repair.Age, is told in a Gap without length that events
// may be missing.
func (t *Transport) Forget(ctx context.Context, topic transport.Topic, publisher string) error {
	err := context.Cause(ctx)
	if err == nil {
		err = t.publisher.ForgetTopic(topic, publisher)
	}
	if err != nil {
		return fmt.Errorf("redis: forget topic %q: %w", topic.Name, err)
	}
	t.subscriber.ForgetTopic(topic.Name)
	return nil
}

// publisherSettings are what the publishing side works by.
func (t *Transport) publisherSettings() publisher.Settings {
	s := publisher.Settings{
		Conn: t.cfg.servers, CommandTimeout: t.cfg.CommandTimeout, PublishTimeout: t.cfg.PublishTimeout,
		QueueEvents: t.cfg.QueueEvents, QueueBytes: t.cfg.QueueBytes,
		Standby: t.cfg.Standby, StandbyAfter: t.cfg.StandbyAfter,
		Capabilities: t.Capabilities(), Compact: t.cfg.compact, Classes: t.classes,
		OnNewQueue: func(publisher, channel string) { t.subscriber.BeginPublisher(channel, publisher) }, Logger: t.log,
	}
	if !t.cfg.Repair.Off {
		limits := t.cfg.Repair.limits()
		s.Memory, s.Views = &limits, viewsOf{t}
		s.OnPublishers = func() { t.subscriber.ControlChannelsChanged() }
	}
	return s
}

// viewsOf are how topics are known to the subscriber of a transport, which is made after the publisher.
type viewsOf struct{ t *Transport }

// Publishes is topicViews.Publishes.
func (v viewsOf) Publishes(env *transport.Envelope) { v.t.subscriber.Views().Publishes(env) }

// Forgets is topicViews.Forgets.
func (v viewsOf) Forgets(topic transport.Topic, publisher string) {
	v.t.subscriber.Views().Forgets(topic, publisher)
}

// Retires is topicViews.Retires.
func (v viewsOf) Retires(publisher string) { v.t.subscriber.Views().Retires(publisher) }
