package redis

// TopicConfig says how one topic travels. It is in [Config], not in bus.TopicConfig, because connections and framing are
// matters of where a process runs: publishers and subscribers need not agree on them.
type TopicConfig struct {
	// Compact is as Config.Compact, for what is published on this topic.
	Compact bool

	// Dedicated gives the topic connections of its own, two to each primary, and queues of its own with the bounds of
	// QueueEvents, QueueBytes, ReceiveBytes and Repair. It is for a topic with so many events, or such large ones, that
	// others wait behind them: what publishers have queued up for a primary, and what it has for a subscriber, goes in
	// one order on one connection. It is not what makes a topic faster that needs more than one primary can do: that is
	// bus.TopicConfig.Partitions, and both go together. Each dedicated topic costs two connections to each primary and
	// some goroutines, in each process that names it, also while it has no events.
	Dedicated bool
}

// compact reports whether a topic's events are published in the compact form.
func (c *Config) compact(topic string) bool { return c.Compact || c.Topics[topic].Compact }
