package redis

import "github.com/shardbus/shardbus/transport"

// Ledger is what became of the numbers that publishers assigned on a topic's channels since it was
// subscribed to. Each that concerns the subscription is received, voided or missing, or held until
// it is known which.
type Ledger struct {
	// Received were delivered. Repaired of them were lost on the way, and came by the publisher's
	// answer.
	Received, Repaired uint64
	// Voided were not received and are not missing: their publisher says that their Publish
	// returned an error.
	Voided uint64
	// Missing are in gaps.
	Missing uint64
	// Forged are events that claimed numbers which their publisher never assigned, which were
	// delivered without one, or gave to other events, which were dropped. They count as nothing
	// else here.
	Forged uint64
	// Unmeasured are gaps of unknown length: see transport.Gap.Measured.
	Unmeasured uint64

	// Malformed are messages that arrived and are no events: they were delivered as
	// transport.Envelope.Malformed, and are dead letters. Those whose number can be read count as
	// Received too.
	Malformed uint64
	// UnreadAttributes are optional attributes that could not be read. Their events were delivered
	// without them.
	UnreadAttributes uint64
}

// Ledger returns what became of a topic's events. For a topic that is not subscribed any more,
// after an Unsubscribe or the end of the bus, it is the last state, until it is subscribed again, is
// forgotten, or another bus claims the transport; for 4096 such topics at most. Zero: it never was subscribed.
func (t *Transport) Ledger(topic transport.Topic) Ledger {
	c := t.subscriber.Counts(topic.Name)
	return Ledger{
		Received: c.Received, Repaired: c.Repaired, Voided: c.Voided, Missing: c.Missing, Forged: c.Forged, Unmeasured: c.Unmeasured,
		Malformed: c.Malformed, UnreadAttributes: c.Unread,
	}
}
