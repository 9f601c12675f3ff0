package subscriber

import "github.com/shardbus/shardbus/transport/redis/internal/track"

// Counts are what became of the numbers of a topic, and what arrived that could not be read.
type Counts struct {
	track.Counts
	Malformed uint64 // messages that are no events
	Unread    uint64 // optional attributes
}

// add counts what became of one channel's numbers.
func (c *Counts) add(more track.Counts, q quality) {
	c.Received += more.Received
	c.Repaired += more.Repaired
	c.Voided += more.Voided
	c.Missing += more.Missing
	c.Forged += more.Forged
	c.Unmeasured += more.Unmeasured
	c.Malformed += q.malformed
	c.Unread += q.unread
}
