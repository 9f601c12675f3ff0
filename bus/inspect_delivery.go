package bus

import (
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/transport"
)

func init() {
	inspect.NewDelivery = func(topic any, spec inspect.Delivery) any { return buildDelivery(topic.(deliveryBuilder), spec) }
}

// deliveryBuilder is a *TopicConfig of any type.
type deliveryBuilder interface {
	// deliveryOf makes a delivery of the event, a pointer to a value of the topic's type; nil stands
	// for the zero value.
	deliveryOf(event any) *Delivery
}

func (cfg *TopicConfig[T]) deliveryOf(event any) *Delivery {
	c := new(cell[T])
	if v, ok := event.(*T); ok {
		c.v = *v
	}
	with := *cfg
	if with.Codec == nil {
		with.Codec = codec.JSON
	}
	return &Delivery{head: &c.head, value: &c.v, info: &newTopicInfo(with, with.Codec.Name(), "test", "test.1").topicInfo}
}

func buildDelivery(topic deliveryBuilder, spec inspect.Delivery) *Delivery {
	d := topic.deliveryOf(spec.Event)
	d.sub, d.attempt = spec.Subscription, spec.Attempt
	if env, ok := spec.Envelope.(*transport.Envelope); ok {
		d.head.env, d.encoded = env, true
		return d
	}
	d.head.seq = 1
	o := newPublishOptions(spec.Publish.([]PublishOption))
	d.head.env, d.head.headers = localEnvelope(o.id), o.headers
	return d
}
