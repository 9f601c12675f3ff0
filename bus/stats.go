package bus

import (
	"fmt"
)

// Stats are the counters of a subscription, read at one moment. The ledger always balances:
//
//	Accepted = Handled + Discarded + DeadLettered + Dropped + Abandoned + Returned + Fenced + Pending()
//
// where Pending is Queued + Running + Deferred, each counted where the events are.
type Stats struct {
	// Accepted events entered the subscription. What the policy Fail refused did not.
	Accepted uint64
	// Handled events were acknowledged.
	Handled uint64
	// Discarded and DeadLettered events were given up by a verdict; an error without a verdict is
	// DeadLettered.
	Discarded, DeadLettered uint64
	// Dropped events were dropped by the mailbox's policy, or by a full inbox.
	Dropped uint64
	// Abandoned events were cut off by an abrupt end.
	Abandoned uint64
	// Returned events of a durable topic went back to the log unstarted, or unfinished when another
	// process took over their partition beside others of their batch. Fenced events were being handled
	// when another process took over: whatever their handlers did, the log gives them to that process.
	// Both are counted as accepted again by whoever gets them next.
	Returned, Fenced uint64

	// Committed is how many events of a durable topic have an outcome that is in the log. It is behind
	// Handled, Discarded and DeadLettered by some milliseconds; after a crash what lies between comes
	// again. It is outside the ledger.
	Committed uint64
	// Standby: the subscription is of a durable topic and holds nothing of its consumer now: mostly as
	// another bus has it, and this one waits for that to end.
	Standby bool

	// Queued events wait in mailboxes and inboxes for their first attempt.
	Queued uint64
	// Running events are being handled.
	Running uint64
	// Deferred events wait for another attempt, or behind one of their key.
	Deferred uint64

	// Lost and Uncertain events are those of all gaps, see [Subscription.Gaps]. They are outside
	// the ledger, since they were not accepted, except those that a full inbox dropped, which are
	// in Dropped too.
	Lost, Uncertain uint64
	// Unmeasured is how many gaps have no length, see [transport.Gap.Measured]: a publisher ended
	// while its events could not arrive, and nobody knows how many there were. They add nothing to
	// Lost and Uncertain.
	Unmeasured uint64

	// Deepest is the most events that wait in the mailbox of one lane, and HighWater the most that
	// were ever seen to wait. HighWater is sampled: by publishers that find a mailbox full, with
	// each event that is timed, and whenever Stats is called.
	Deepest, HighWater uint64
	// Handling is how long attempts at events took, middleware included; for SubscribeBatch, how
	// long batches took. It is sampled, so that reading the clock takes no more than about a
	// hundredth of a lane's time: events that take 10 µs and more are all timed, of the shortest
	// one in 256. It counts only first attempts, and only those that returned.
	Handling Histogram

	// Failed attempts returned an error or panicked, a Snooze not included.
	Failed uint64
	// Retried is how many failed attempts were granted another.
	Retried uint64
	// Snoozed is how many attempts ended in a Snooze.
	Snoozed uint64
	// Panicked is how many of the failed attempts panicked.
	Panicked uint64
	// Slow is how many attempts ran longer than Config.SlowHandler, those that still do included;
	// an attempt at a batch counts once.
	Slow uint64
}

// Pending is how many accepted events are not settled.
func (s Stats) Pending() uint64 { return s.Queued + s.Running + s.Deferred }

// Balanced reports whether the ledger adds up. It is false only if this package has a defect.
func (s Stats) Balanced() bool {
	return s.Accepted == s.Handled+s.Discarded+s.DeadLettered+s.Dropped+s.Abandoned+s.Returned+s.Fenced+s.Pending()
}

// String is the ledger in one line.
func (s Stats) String() string {
	var durable string
	if s.Returned+s.Fenced > 0 {
		durable = fmt.Sprintf(" + returned %d + fenced %d", s.Returned, s.Fenced)
	}
	return fmt.Sprintf("accepted %d = handled %d + discarded %d + dead-lettered %d + dropped %d + abandoned %d%s + pending %d (queued %d, running %d, deferred %d)",
		s.Accepted, s.Handled, s.Discarded, s.DeadLettered, s.Dropped, s.Abandoned, durable, s.Pending(), s.Queued, s.Running, s.Deferred)
}

// TopicStats counts what a topic's publishers did on this bus.
type TopicStats struct {
	// Published events were offered to the subscriptions here: by this bus, or,
	// on a bus with a transport, by any.
	Published uint64
	// Unrouted events found no subscription here.
	Unrouted uint64
	// Subscriptions is how many there are now.
	Subscriptions int
}
