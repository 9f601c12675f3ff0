package bustest

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/transport"
)

// DeliveryOption configures a built delivery.
type DeliveryOption interface{ applyDelivery(*deliveryOptions) }

type deliveryOptions struct {
	publish      []bus.PublishOption
	subscription string
	attempt      int
}

type deliveryOption func(*deliveryOptions)

func (f deliveryOption) applyDelivery(o *deliveryOptions) { f(o) }

// OnAttempt sets the attempt of a built delivery; default 1.
func OnAttempt(n int) DeliveryOption {
	return deliveryOption(func(o *deliveryOptions) { o.attempt = n })
}

// DeliveredTo sets the subscription of a built delivery; default "test".
func DeliveredTo(subscription string) DeliveryOption {
	return deliveryOption(func(o *deliveryOptions) { o.subscription = subscription })
}

// EventOption describes the event: for [Call] and its variants, [Delivery] and [TypedDelivery].
type EventOption interface {
	CallOption
	DeliveryOption
}

type eventOption []bus.PublishOption

func (opts eventOption) applyCall(c *call)                { c.publish = append(c.publish, opts...) }
func (opts eventOption) applyDelivery(o *deliveryOptions) { o.publish = append(o.publish, opts...) }

// PublishedWith gives the events what these options of Publish give them: headers, or the ID of a
// single event.
func PublishedWith(opts ...bus.PublishOption) EventOption { return eventOption(opts) }

// Delivery builds a delivery as a middleware sees it for an event off a broker: still encoded, with
// ID, key, time, publisher and content type. It belongs to its caller. topic is not validated. An
// event that the codec can't encode fails the test at once.
func Delivery[T any](t testing.TB, topic bus.TopicConfig[T], event T, opts ...DeliveryOption) *bus.Delivery {
	t.Helper()
	c := topic.Codec
	if c == nil {
		c = codec.JSON
	}
	payload, err := c.Append(nil, &event)
	if err != nil {
		t.Fatalf("bustest: an event of topic %s: %v", topic.Name, err)
	}
	typed := TypedDelivery(topic, event, opts...) // knows what the options say
	return EnvelopeDelivery(topic, &transport.Envelope{
		Topic: topic.Name, Partitions: topic.Partitions, Publisher: typed.Publisher(), ID: typed.ID().String(), Seq: 1,
		Key: typed.Key(), Time: time.Now(), Headers: typed.Headers(), ContentType: c.ContentType(), Payload: payload,
	}, opts...)
}

// TypedDelivery builds a delivery as a middleware sees it for an event that was delivered in
// process and never encoded. It belongs to its caller. topic is not validated.
func TypedDelivery[T any](topic bus.TopicConfig[T], event T, opts ...DeliveryOption) *bus.Delivery {
	return newDelivery(&topic, inspect.Delivery{Event: &event}, opts)
}

// EnvelopeDelivery builds a delivery as a middleware sees it for an envelope off a transport: still
// encoded. A nil env is an empty one. What [PublishedWith] says does not count, since env says it.
func EnvelopeDelivery[T any](topic bus.TopicConfig[T], env *transport.Envelope, opts ...DeliveryOption) *bus.Delivery {
	if env == nil {
		env = new(transport.Envelope)
	}
	return newDelivery(&topic, inspect.Delivery{Envelope: env}, opts)
}

func newDelivery(topic any, spec inspect.Delivery, opts []DeliveryOption) *bus.Delivery {
	o := deliveryOptions{attempt: 1, subscription: "test"}
	for _, opt := range opts {
		opt.applyDelivery(&o)
	}
	spec.Publish, spec.Subscription, spec.Attempt = o.publish, o.subscription, o.attempt
	return inspect.NewDelivery(topic, spec).(*bus.Delivery)
}
