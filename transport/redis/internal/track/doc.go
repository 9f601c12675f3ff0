// Package track finds out what of a channel's events is missing. It is pure: no I/O, no goroutines, and the clock is
// an argument.
//
// Of each publisher a [Tracker] keeps a floor (everything below it is settled: delivered, or reported missing) and,
// above the floor, the few events that arrived before others that may still come. So duplicates are dropped, events
// are delivered in the order of their numbers, and each missing number is reported exactly once and never delivered
// afterwards.
//
// With [Repair] an event behind a hole waits while the publisher is asked for what is missing: [Tracker.CollectMissing] says what to
// ask, [Tracker.NackSent] that it was asked, [Tracker.Answer] what came of it. A number that is repaired is delivered in its
// place, one that the publisher declares void is passed over, and one that it has forgotten is reported missing at once.
//
// Who may publish on a channel can claim any publisher and any number. So of a publisher that can be asked, nothing that
// stands behind a hole is believed before the publisher has sent the first event behind the hole itself, and nothing below
// what was delivered is ever taken as new. See trust.go. What is remembered of publishers is bounded; see roll.go.
package track

import (
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
)

// Config bounds a [Tracker]. Every number must be positive.
type Config struct {
	// Hold is how long an event waits for those before it that have not arrived.
	Hold time.Duration
	// TailHold is how long what only a watermark knows of may still arrive. It is longer than Hold: a watermark is
	// overtaken by events that are sent again.
	TailHold time.Duration
	// MaxHeld is how many events of one publisher may wait. Beyond it the first do not wait any longer.
	MaxHeld int
	// MaxPublishers is how many publishers are known in full at once. For one more, one that never answered a question is
	// known by its floor alone, the one unheard of for longest; if all have answered, one that has.
	MaxPublishers int
	// MaxFloors is how many publishers are known by their floor alone that answered a question once, and MaxUnverified
	// how many that never did. Beyond it half of them are forgotten, those that were heard of first.
	MaxFloors, MaxUnverified int
	// Roll bounds what is remembered of publishers that never answered, in all trackers that share it; nil: nothing does.
	Roll *Budget
	// MaxPayload is the largest payload that is delivered, in bytes. A larger one is missing. 0: any is delivered.
	MaxPayload int
	// Forget is how long a silent publisher is remembered, and FinalForget one that said that it had ended.
	Forget, FinalForget time.Duration
	// Doubt is how long after a fault a publisher that was heard of before it may be silent. Then it is asked where it
	// stands. Zero: half a second.
	Doubt time.Duration
	// Margin is how much younger than the subscription a publisher's stream must be to have certainly begun after it.
	Margin time.Duration
	// MaxJump is how far ahead of the floor a number may be. An event beyond it is delivered as if it had none.
	MaxJump uint64
	// Copies says that events may come several times, by ways of different length, so that a number before the beginning of
	// a stream says nothing.
	Copies bool
	// Repair has publishers asked for what is missing; nil: nobody is asked, and Hold and TailHold apply.
	Repair *Repair
}

// Repair is how publishers are asked. Every field must be set.
type Repair struct {
	// Timeout is how long after it was asked for a missing number is given up, and after each sign that the publisher
	// works on it; in all no longer than holeTimeouts times that.
	Timeout time.Duration
	// Delay is how long a hole may fill by itself before the first question, and between the first two; then it doubles
	// up to MaxDelay. Each is made up to twice as long at random.
	Delay, MaxDelay time.Duration
	// Deaf is how long nobody may listen where the publisher is asked before it counts as gone.
	Deaf time.Duration
	// MaxHeldBytes is how much may wait for one publisher, beside Config.MaxHeld.
	MaxHeldBytes int
	// Budget bounds what waits in all trackers that share it.
	Budget *Budget
	// Askable reports whether a publisher can be asked at all.
	Askable func(publisher string) bool
	// Random returns numbers from 0 to below 1.
	Random func() float64
}

// holeTimeouts is how many times as long as Repair.Timeout a hole lasts at most.
const holeTimeouts = 12

// MaxName is the length of the longest name of a publisher that is tracked. What a longer one numbers is delivered as if it
// had no number.
const MaxName = 512

// Gap is a run of missing numbers, From to To, of one kind. Count 0 means that nobody knows how many are missing, from From
// on; without a Publisher, of whom.
type Gap struct {
	Publisher string
	Epoch     uint64
	From, To  uint64
	Count     uint64
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
	Asked     time.Time     // when it was asked for; zero: it was not, and nobody knows how long it took to come
	Uncertain string        // see [Tracker.Event]
	Final     bool          // nothing comes after Last
	Copy      bool          // it came by the way of [Tracker.Copy], so its age says little
	Epoch     uint64        // when number 1 was assigned, in milliseconds since 1970; 0: not told
	// Assigned is the last number that was assigned at all, in the answer to a question that was asked after the channel
	// was confirmed; else 0. A publisher that nothing is known of begins behind it.
	Assigned uint64
}

// Answer is what a publisher says to a question.
type Answer struct {
	N         uint64 // the question's number
	Assigned  uint64 // the last number that it ever assigned
	Gone      uint64 // this number and all below are forgotten
	Void      seqset.Set
	Open      seqset.Set // they are on their way still
	Uncertain string     // see [Tracker.Event]
	Epoch     uint64
	Age       time.Duration // since number 1 was assigned
	Events    []Event
}

// Event is a repaired one.
type Event struct {
	Env       *transport.Envelope
	Uncertain string
}

// Counts is what became of the numbers of a channel: those that concern it are received, voided or missing.
type Counts struct {
	// Received were delivered; Repaired of them came by an answer.
	Received, Repaired uint64
	// Voided will not come: their publisher says that their Publish returned an error.
	Voided uint64
	// Missing were reported in gaps.
	Missing uint64
	// Forged were events that claimed numbers which their publisher never assigned, which were delivered without one, or
	// gave to another event, which were dropped.
	Forged uint64
	// Unmeasured were gaps of unknown length.
	Unmeasured uint64
}

// Add returns the sum.
func (c Counts) Add(o Counts) Counts {
	return Counts{
		Received: c.Received + o.Received, Repaired: c.Repaired + o.Repaired, Voided: c.Voided + o.Voided,
		Missing: c.Missing + o.Missing, Forged: c.Forged + o.Forged, Unmeasured: c.Unmeasured + o.Unmeasured,
	}
}

// Budget bounds what is kept in several trackers together, in bytes. It may be shared by trackers that are used at once.
type Budget struct {
	limit int64
	held  atomic.Int64
	loose atomic.Int64 // of held, for publishers that never answered
}

// NewBudget returns an unspent one.
func NewBudget(limit int) *Budget { return &Budget{limit: int64(limit)} }

// Held is how much is kept now.
func (b *Budget) Held() int { return int(b.held.Load()) }

func (b *Budget) add(n int) {
	if b != nil {
		b.held.Add(int64(n))
	}
}

// over reports whether more than one part in n of the limit is kept.
func (b *Budget) over(n int64) bool { return b != nil && b.held.Load() > b.limit/n }
