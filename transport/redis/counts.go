package redis

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

// Counts returns what became of a topic's events; of one that is not subscribed to any more, the last state.
func (s *Subscriber) Counts(topic string) Counts {
	channels, last := s.subscriptions.channelsOf(topic)
	for _, ch := range channels {
		last.add(ch.counts())
	}
	return last
}

// maxEnded bounds the counts that are kept of topics that are not subscribed to.
const maxEnded = 4096

// keepCountsLocked keeps what became of a topic that is not subscribed to any more.
func (r *subscriptions) keepCountsLocked(topic string, c Counts) {
	if r.mu.ended == nil {
		r.mu.ended = make(map[string]Counts)
	}
	for name := range r.mu.ended {
		if len(r.mu.ended) < maxEnded {
			break
		}
		delete(r.mu.ended, name)
	}
	r.mu.ended[topic] = c
}

// forgetCounts drops them: another bus begins.
func (r *subscriptions) forgetCounts() {
	r.lock()
	defer r.mu.Unlock()
	r.mu.ended = nil
}
