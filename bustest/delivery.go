package bustest

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
)

// Delivery builds a delivery as a middleware sees it for an event off a broker: still encoded, with
// ID, key, time, publisher and content type. bus.Attempt, bus.To, bus.ID and bus.Header change it.
// bus.NewDelivery builds one for an event that was delivered in process and never encoded. An event
// that the codec can't encode fails the test at once.
func Delivery[T any](t testing.TB, topic bus.TopicConfig[T], event T, opts ...bus.DeliveryOption) *bus.Delivery {
	t.Helper()
	c := topic.Codec
	if c == nil {
		c = codec.JSON
	}
	payload, err := c.Append(nil, &event)
	if err != nil {
		t.Fatalf("bustest: an event of topic %s: %v", topic.Name, err)
	}
	typed := bus.NewDelivery(topic, event, opts...) // knows what the options say
	return bus.NewEncodedDelivery(topic, &transport.Envelope{
		Topic: topic.Name, Partitions: topic.Partitions, Publisher: typed.Publisher(), ID: typed.ID().String(), Seq: 1,
		Key: typed.Key(), Time: time.Now(), Headers: typed.Headers(), ContentType: c.ContentType(), Payload: payload,
	}, opts...)
}
