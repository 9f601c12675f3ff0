package redis

import "github.com/shardbus/shardbus/transport/redis/internal/connkey"

// TopicConfig says how one topic travels. It is in Config, not in bus.TopicConfig, because
// connections and framing depend on where a process runs: publishers and subscribers need not agree
// on them.
type TopicConfig struct {
	// Compact is as Config.Compact, for this topic.
	Compact bool

	// Dedicated gives the topic connections of its own, two to each primary, and queues of its own
	// with the bounds of QueueEvents, QueueBytes, ReceiveBytes and Repair. It is for a topic with
	// so many events, or such large ones, that others wait behind them: the events that publishers
	// queue for a primary, and those that it has for a subscriber, go in one order on one
	// connection. It does not help a topic that needs more than one primary can do:
	// bus.TopicConfig.Partitions does, and both go together. Each dedicated topic costs two
	// connections to each primary and some goroutines, in each process that names it, also while it
	// has no events.
	Dedicated bool
}

// classes are which connections carry which topics: a dedicated topic has its own.
func (c *Config) classes() connkey.Classes {
	var dedicated []string
	for name, topic := range c.Topics {
		if topic.Dedicated {
			dedicated = append(dedicated, name)
		}
	}
	return connkey.NewClasses(dedicated...)
}

// compact reports whether a topic's events are published in the compact form.
func (c *Config) compact(topic string) bool { return c.Compact || c.Topics[topic].Compact }
