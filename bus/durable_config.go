package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Class says what becomes of a topic's events.
type Class uint8

const (
	// Ephemeral events are gone when every subscription has handled them, and are for those that are
	// subscribed. It is the default.
	Ephemeral Class = iota
	// Durable events stay in the bus's log, until the topic's Retain lets them go. Publish returns when
	// the log has them. A subscription reads them at its own pace, goes on where it was after a
	// restart, and gets each at least once. See docs/durable.md.
	Durable
)

func (c Class) String() string {
	switch c {
	case Ephemeral:
		return "Ephemeral"
	case Durable:
		return "Durable"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Retain bounds what the log keeps of each partition of a durable topic, see [transport.Retain]. Its
// zero value keeps events for DefaultRetainAge. A negative Age is no bound by age.
type Retain = transport.Retain

// DefaultRetainAge is how long events of a durable topic stay, where Retain says nothing.
const DefaultRetainAge = 7 * 24 * time.Hour

// ErrNoLog: a durable topic needs a log, and the bus has none.
var ErrNoLog = errors.New("a durable topic needs a log: set Config.Log, for example to that of transport/file")

// ErrNotDurable: what was asked for needs a durable topic. It wraps ErrInvalidConfig.
var ErrNotDurable = fmt.Errorf("%w: the topic is not durable, see TopicConfig.Class", ErrInvalidConfig)

// validDurable checks what concerns durable topics, and reads what is left to the default.
func (cfg *TopicConfig[T]) validDurable() error {
	switch {
	case cfg.Class > Durable:
		return fmt.Errorf("%w: Class is %v", ErrInvalidConfig, cfg.Class)
	case cfg.DedupIDs < 0:
		return fmt.Errorf("%w: DedupIDs is %v, it must not be negative", ErrInvalidConfig, cfg.DedupIDs)
	case cfg.Class != Durable && cfg.Retain != Retain{}:
		return fmt.Errorf("%w: Retain is set, which only a durable topic has", ErrInvalidConfig)
	case cfg.Class != Durable && cfg.DedupIDs != 0:
		return fmt.Errorf("%w: DedupIDs is set, which only a durable topic has", ErrInvalidConfig)
	case cfg.Replicas < 0:
		return fmt.Errorf("%w: Replicas is %d, it must not be negative", ErrInvalidConfig, cfg.Replicas)
	case cfg.Class != Durable && cfg.Replicas != 0:
		return fmt.Errorf("%w: Replicas is set, which only a durable topic has", ErrInvalidConfig)
	case cfg.Class == Durable && cfg.Retain == Retain{}:
		cfg.Retain.Age = DefaultRetainAge
	}
	return nil
}

// logTopic is the topic as logs know it. It calls user code: the codec.
func (cfg *TopicConfig[T]) logTopic() transport.LogTopic {
	retain := cfg.Retain
	retain.Age = max(0, retain.Age)
	return transport.LogTopic{
		Name: cfg.Name, Partitions: cfg.Partitions, Codec: cfg.Codec.ContentType(), Retain: retain, DedupIDs: cfg.DedupIDs, Replicas: cfg.Replicas,
	}
}
