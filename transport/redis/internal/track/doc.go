// Package track finds out what of a channel's events is missing. It is pure: no I/O, no goroutines, and the clock is
// an argument.
//
// Of each publisher a [Tracker] keeps a floor (everything below it is settled: delivered, or reported missing) and,
// above the floor, the few events that arrived before others that may still come. So duplicates are dropped, events
// are delivered in the order of their numbers, and each missing number is reported exactly once and never delivered
// afterwards.
package track

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Config bounds a [Tracker]. Every field must be positive.
type Config struct {
	// Hold is how long an event waits for those before it that have not arrived.
	Hold time.Duration
	// TailHold is how long what only a watermark knows of may still arrive. It is longer than Hold: a watermark is
	// overtaken by events that are sent again.
	TailHold time.Duration
	// MaxHeld is how many events of one publisher may wait. Beyond it the first do not wait any longer.
	MaxHeld int
	// MaxPublishers is how many publishers are known at once. For one more, the one unheard of for longest is forgotten.
	MaxPublishers int
	// Forget is how long a silent publisher is remembered, and FinalForget one that said that it had ended.
	Forget, FinalForget time.Duration
	// Margin is how much younger than the subscription a publisher's stream must be to have certainly begun after it.
	Margin time.Duration
	// MaxJump is how far ahead of the floor a number may be. An event beyond it is delivered as if it had none.
	MaxJump uint64
}

// Gap is a run of missing numbers, From to To, of one kind.
type Gap struct {
	Publisher string
	From, To  uint64
	Since     time.Time
	Kind      transport.GapKind
	Reason    transport.GapReason
}

// Sink takes what a [Tracker] decides. Deliver is called in the order of each publisher's numbers.
type Sink interface {
	Deliver(env *transport.Envelope)
	Gap(g Gap)
}

// Mark is what a watermark says of one publisher's stream.
type Mark struct {
	Last      uint64        // everything up to this was sent
	Age       time.Duration // since number 1 was assigned
	Uncertain string        // see [Tracker.Event]
	Final     bool          // nothing comes after Last
}
