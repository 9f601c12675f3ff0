package redis

import (
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

// Ledger is what became of the numbers that publishers assigned on a topic's channels since it was subscribed to. Each
// that concerns the subscription is received, voided or missing, or held until it is known which.
type Ledger struct {
	// Received were delivered. Repaired of them were lost on the way, and came by the publisher's answer.
	Received, Repaired uint64
	// Voided were not received and are not missing: their publisher says that their Publish returned an error.
	Voided uint64
	// Missing are in gaps.
	Missing uint64
	// Forged are events that claimed numbers which their publisher never assigned, which were delivered without one, or
	// gave to other events, which were dropped. They count as nothing else here.
	Forged uint64
	// Unmeasured are gaps of unknown length: see transport.Gap.Measured.
	Unmeasured uint64

	// Malformed are messages that arrived and are no events: they were delivered as transport.Envelope.Malformed, and are
	// dead letters. Those whose number can be read count as Received too.
	Malformed uint64
	// UnreadAttributes are optional attributes that could not be read. Their events were delivered without them.
	UnreadAttributes uint64
}

// Ledger returns what became of a topic's events. It is zero if the topic is not subscribed to.
func (t *Transport) Ledger(topic transport.Topic) Ledger {
	var sum track.Counts
	var read quality
	for _, ch := range t.of(topic.Name).registry.channelsOf(topic.Name) {
		counts, q := ch.counts()
		sum = sum.Add(counts)
		read.malformed += q.malformed
		read.unread += q.unread
	}
	return Ledger{
		Received: sum.Received, Repaired: sum.Repaired, Voided: sum.Voided, Missing: sum.Missing, Forged: sum.Forged,
		Unmeasured: sum.Unmeasured,
		Malformed:  read.malformed, UnreadAttributes: read.unread,
	}
}
