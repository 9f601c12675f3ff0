package bus

import (
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
)

// DeliveryOption configures the delivery that [NewDelivery] builds.
type DeliveryOption interface{ applyDelivery(*deliveryOptions) }

// EventOption describes the event itself: for Publish, and for NewDelivery.
type EventOption interface {
	PublishOption
	DeliveryOption
}

type deliveryOptions struct {
	publishOptions
	subscription string
	attempt      int
}

func (f publishOption) applyDelivery(o *deliveryOptions) { f(&o.publishOptions) }

type deliveryOption func(*deliveryOptions)

func (f deliveryOption) applyDelivery(o *deliveryOptions) { f(o) }

// Attempt sets a built delivery's attempt; default 1.
func Attempt(n int) DeliveryOption { return deliveryOption(func(o *deliveryOptions) { o.attempt = n }) }

// To sets a built delivery's subscription; default "test".
func To(subscription string) DeliveryOption {
	return deliveryOption(func(o *deliveryOptions) { o.subscription = subscription })
}

// NewDelivery builds a delivery as a handler gets it for event, delivered in process. It is for
// tests of middleware; it belongs to its caller. cfg is not validated.
func NewDelivery[T any](cfg TopicConfig[T], event T, opts ...DeliveryOption) *Delivery {
	o := deliveryOptions{attempt: 1, subscription: "test"}
	for _, opt := range opts {
		opt.applyDelivery(&o)
	}
	c := &cell[T]{head: head{seq: 1}, v: event}
	if o.id != "" || !o.header.IsZero() {
		c.env = &transport.Envelope{ID: o.id, Headers: o.header}
	}
	return newDelivery(cfg, c, o)
}

// NewEncodedDelivery builds a delivery as a handler gets it for an envelope off a transport: still
// encoded. A nil env is an empty one.
func NewEncodedDelivery[T any](cfg TopicConfig[T], env *transport.Envelope, opts ...DeliveryOption) *Delivery {
	o := deliveryOptions{attempt: 1, subscription: "test"}
	for _, opt := range opts {
		opt.applyDelivery(&o)
	}
	if env == nil {
		env = new(transport.Envelope)
	}
	d := newDelivery(cfg, &cell[T]{head: head{env: env}}, o)
	d.encoded = true
	return d
}

func newDelivery[T any](cfg TopicConfig[T], c *cell[T], o deliveryOptions) *Delivery {
	if cfg.Codec == nil {
		cfg.Codec = codec.JSON
	}
	info := newTopicInfo(cfg, cfg.Codec.Name(), "test", "test.1")
	return &Delivery{head: &c.head, value: &c.v, info: info, sub: o.subscription, attempt: o.attempt}
}

// MessageOf returns d as a typed message, decoded if needed. It is safe to keep. The error is
// Decode's, or ErrWrongType when T is not the topic's type.
func MessageOf[T any](d *Delivery) (Message[T], error) {
	if err := d.Decode(nil); err != nil {
		return Message[T]{}, err
	}
	v, ok := Value[T](d)
	if !ok {
		return Message[T]{}, &Error{Op: "read", Topic: d.info.name, Subscription: d.sub, Err: ErrWrongType,
			Detail: "the topic carries " + d.info.typ.String()}
	}
	return message(d, *v), nil
}
