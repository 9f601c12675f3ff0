package redis

// TopicConfig says how one topic travels. It is in [Config], not in bus.TopicConfig, because connections and framing are
// matters of where a process runs: publishers and subscribers need not agree on them.
type TopicConfig struct {
	// Compact is as Config.Compact, for what is published on this topic.
	Compact bool
}

// compact reports whether a topic's events are published in the compact form.
func (c *Config) compact(topic string) bool { return c.Compact || c.Topics[topic].Compact }
