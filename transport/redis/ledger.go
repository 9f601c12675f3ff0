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

// add counts what became of one channel's numbers.
func (l *Ledger) add(c track.Counts, q quality) {
	l.Received += c.Received
	l.Repaired += c.Repaired
	l.Voided += c.Voided
	l.Missing += c.Missing
	l.Forged += c.Forged
	l.Unmeasured += c.Unmeasured
	l.Malformed += q.malformed
	l.UnreadAttributes += q.unread
}

// Ledger returns what became of a topic's events. Of one that is not subscribed to any more, after an Unsubscribe or the
// end of the bus, it is the last state, until it is subscribed to again or another bus claims the transport; of
// 4096 such topics at most. Zero: it never was.
func (t *Transport) Ledger(topic transport.Topic) Ledger {
	r := t.of(topic.Name).subscriptions
	channels, last := r.channelsOf(topic.Name)
	for _, ch := range channels {
		last.add(ch.counts())
	}
	return last
}

// maxEnded bounds the ledgers that are kept of topics that are not subscribed to.
const maxEnded = 4096

// keepLedgerLocked keeps what became of a topic that is not subscribed to any more.
func (r *subscriptions) keepLedgerLocked(topic string, l Ledger) {
	if r.mu.ended == nil {
		r.mu.ended = make(map[string]Ledger)
	}
	for name := range r.mu.ended {
		if len(r.mu.ended) < maxEnded {
			break
		}
		delete(r.mu.ended, name)
	}
	r.mu.ended[topic] = l
}

// forgetLedgers drops them: another bus begins.
func (r *subscriptions) forgetLedgers() {
	r.lock()
	defer r.mu.Unlock()
	r.mu.ended = nil
}
