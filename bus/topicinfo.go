package bus

import (
	"reflect"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
)

// typedInfo is a topicInfo with what else a topic was made of.
type typedInfo[T any] struct {
	topicInfo
	cfg TopicConfig[T]
}

// topicInfo is what the untyped parts of the engine know of a topic. Immutable.
type topicInfo struct {
	name       string
	typ        reflect.Type
	partitions int
	durable    bool   // TopicConfig.Class is Durable
	remote     bool   // its events go through a transport
	publisher  string // what the topic's events are published by: see publishers
	typeName   string // empty: any
	idScope    string // bus and topic: IDs are unique on the bus
	codec      codec.Codec
	codecName  string
	key        func(v any) string             // v is a *T; nil when the topic has no key
	appendKey  func(dst []byte, v any) []byte // nil without TopicConfig.AppendKey
	reset      func(v any)                    // zeroes *T
	log        *zap.Logger                    // the bus's; nil for a Delivery that a test made
	shared     *sharedEvents                  // nil but with Config.Debug on a bus without a transport
}

// address is the topic as transports know it. It calls user code: the codec.
func (info *topicInfo) address() transport.Topic {
	return transport.Topic{
		Name: info.name, Partitions: info.partitions, ContentType: info.codec.ContentType(), TypeName: info.typeName,
	}
}
