package bus

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/router"
)

// TopicConfig describes a topic: a named flow of events of one type. It is a
// plain value, declared once and shared by publishers and subscribers.
type TopicConfig[T any] struct {
	// Name is 1 to 200 bytes of [A-Za-z0-9._:-].
	Name string

	// Key gives the event's ordering key; nil, or an empty key, means none.
	// Events of one key are handled in the order they were published, also by
	// a subscription with many lanes. Key may be called more than once for an
	// event and from many goroutines: it must be pure and fast.
	Key func(T) string

	// AppendKey is Key for keys that are no strings: it appends the key to dst and returns that, as
	// strconv.AppendInt does. So an integer key costs no allocation in process, with Lanes and
	// actors too, and none beside the payload's through a transport. It must not keep dst. It may
	// return memory of its own in place of dst, which is read and not written to. Whoever asks for
	// the key as text, as Message.Key and the policy KeepLatest do, pays for that. The same rules
	// hold as for Key; only one of the two may be set.
	AppendKey func(dst []byte, v T) []byte

	// Codec encodes events that leave the process. Default: codec.JSON. It is
	// not used while the bus has no transport. Its ContentType must be a media
	// type.
	Codec codec.Codec

	// Partitions spreads the topic over that many ordered parts of a transport,
	// by key; events without a key go round. 0, the default, is unpartitioned;
	// at most router.MaxPartitions. It changes nothing without a transport.
	Partitions int

	// TypeName is the name of T that events bear to other processes: an event of a bus
	// whose name differs is a dead letter with ErrOtherType, since it may decode without
	// an error and be another thing. Default: T's name without its package, as in "Order",
	// with its arguments if it is generic; a pointer to T goes by the name of T. So a type
	// may move to another package, and programs may have types of their own for one event,
	// if they agree on the name; two types of one name are not told apart. A builtin type,
	// one without a name and json.RawMessage have none, and take any. "-" is no name: it is
	// neither sent nor compared. Set it to the old name where a type is renamed. Up to 200
	// bytes of printable text.
	TypeName string

	// UsePublish is middleware around Publish, PublishBatch, PublishMessages and Ask of the topic,
	// the first outermost, inside that of Config.UsePublish.
	UsePublish []PublishMiddleware

	// Class is Ephemeral, the default, or Durable: then the bus needs a Config.Log.
	Class Class

	// Retain bounds what the log keeps of a durable topic. Default: DefaultRetainAge. It may change
	// from one start to the next.
	Retain Retain

	// DedupIDs is how long the log of a durable topic remembers an ID that was given by [ID], for each
	// partition: an event of the same ID is not added again. Default 0: not at all.
	DedupIDs time.Duration

	// Replicas is how many replicas of its server must have an event of a durable topic before Publish
	// returns nil. If fewer have it soon, the error wraps transport.ErrNotReplicated: the event is in
	// the log, and a fail-over may lose it. Only for a log on Redis. Default 0: the server alone.
	Replicas int

	// Stamp gives each event the time of its publishing also where no
	// transport is involved. Default false: a clock read an event is saved, and
	// Message.Time is zero. Off a transport the time is always there.
	Stamp bool
}

func validTopicConfig[T any](cfg *TopicConfig[T]) error {
	if err := router.ValidName(cfg.Name); err != nil {
		return err
	}
	if cfg.Partitions < 0 || cfg.Partitions > router.MaxPartitions {
		return fmt.Errorf("%w: Partitions is %d, allowed are 0 to %d", ErrInvalidConfig, cfg.Partitions, router.MaxPartitions)
	}
	if cfg.Key != nil && cfg.AppendKey != nil {
		return fmt.Errorf("%w: Key and AppendKey are set, choose one", ErrInvalidConfig)
	}
	if err := validTypeName(cfg.TypeName); err != nil {
		return err
	}
	if err := cfg.validDurable(); err != nil {
		return err
	}
	return validContentType(cfg.Codec)
}

// validContentType: what readers can't take for a media type has them guess what
// the payload is.
func validContentType(c codec.Codec) error {
	contentType := c.ContentType()
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
	case strings.TrimSpace(contentType) != contentType:
		err = errors.New("there is space around it")
	case !strings.Contains(media, "/"):
		err = errors.New("it has no subtype")
	}
	if err != nil {
		return fmt.Errorf("%w: the ContentType %.100q of codec %.100q is no media type, such as application/json: %w",
			ErrInvalidConfig, contentType, c.Name(), err)
	}
	return nil
}

// keyFunc is Key, or what stands for it with AppendKey; nil for neither.
func (cfg *TopicConfig[T]) keyFunc() func(T) string {
	if add := cfg.AppendKey; add != nil {
		return func(v T) string { return string(add(nil, v)) }
	}
	return cfg.Key
}

// differs says in what two configurations of one topic differ; "" if in nothing
// that can be compared.
func (cfg TopicConfig[T]) differs(other TopicConfig[T], codecHere, codecOther string) string {
	switch {
	case (cfg.Key == nil) != (other.Key == nil):
		return "it has a Key in one configuration and none in the other"
	case (cfg.AppendKey == nil) != (other.AppendKey == nil):
		return "it has an AppendKey in one configuration and none in the other"
	case codecHere != codecOther:
		return fmt.Sprintf("its Codec is %s here, and %s is asked for", codecHere, codecOther)
	case cfg.Partitions != other.Partitions:
		return fmt.Sprintf("its Partitions are %d here, and %d are asked for", cfg.Partitions, other.Partitions)
	case cfg.TypeName != other.TypeName:
		return fmt.Sprintf("its TypeName is %q here, and %q is asked for", cfg.TypeName, other.TypeName)
	case len(cfg.UsePublish) != len(other.UsePublish):
		return fmt.Sprintf("it has %d middleware in UsePublish here, and %d are asked for", len(cfg.UsePublish), len(other.UsePublish))
	case cfg.Class != other.Class:
		return fmt.Sprintf("its Class is %v here, and %v is asked for", cfg.Class, other.Class)
	case cfg.Retain != other.Retain:
		return fmt.Sprintf("its Retain is %+v here, and %+v is asked for", cfg.Retain, other.Retain)
	case cfg.DedupIDs != other.DedupIDs:
		return fmt.Sprintf("its DedupIDs is %v here, and %v is asked for", cfg.DedupIDs, other.DedupIDs)
	case cfg.Replicas != other.Replicas:
		return fmt.Sprintf("its Replicas are %d here, and %d are asked for", cfg.Replicas, other.Replicas)
	case cfg.Stamp != other.Stamp:
		return fmt.Sprintf("its Stamp is %v here, and %v is asked for", cfg.Stamp, other.Stamp)
	}
	return ""
}
