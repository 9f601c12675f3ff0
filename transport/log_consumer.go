package transport

import (
	"context"
	"time"
)

// ConsumerConfig says what a bus joins.
type ConsumerConfig struct {
	Topic string
	// Name is the consumer's: a group, or a subscription that is in none. It is a name as that of a
	// [Topic].
	Name string
	// Member is the bus's name for messages.
	Member string
	// Exclusive: one member at a time. Another one may join, and is a standby: it is assigned
	// nothing until the first has ended.
	Exclusive bool
	// Keyed: each partition has one holder at a time, so that events of a key keep their order.
	// Otherwise several members may share a partition, by ranges of offsets. All members of a
	// consumer have the same Exclusive and Keyed, else the later one fails with ErrInUse.
	Keyed bool
	// Window is how far beyond the first event that is not settled events may be settled. It is
	// fixed when the consumer is made. 0 is DefaultWindow; the most is MaxWindow.
	Window int
	// Start is where the consumer begins if it is new.
	Start Start
}

// The window of a consumer.
const (
	DefaultWindow = 1024
	MaxWindow     = 1 << 16
)

// Start is a place in a topic.
type Start struct {
	From StartFrom
	// Time is that of AtTime.
	Time time.Time
	// Offsets are those of AtOffset by partition. One that has none begins as with AtLatest, and so
	// does one whose offset is not reached yet. What is trimmed from the offset on is a Gap.
	Offsets map[int]uint64
}

// StartFrom says what a [Start] is counted from.
type StartFrom uint8

const (
	// AtLatest: the next event that is added.
	AtLatest StartFrom = iota
	// AtEarliest: the oldest event that is kept.
	AtEarliest
	// AtTime: the first event that the log took at a time or later.
	AtTime
	// AtOffset: an offset for each partition.
	AtOffset
)

// Lease is a member's right to read and settle a partition, or a range of it. It lasts until it is
// released or lost. Each has a higher fence than all before it of the same consumer and partition,
// also after a restart.
type Lease struct {
	Partition int
	Fence     uint64
	// Token tells leases apart where a log may have given a fence twice. It is the log's.
	Token string
	// From and To bound the offsets that are the holder's: From is the first, To is one more than
	// the last. To 0 is the whole partition. The ranges of living leases never overlap. A holder
	// releases a range when all of it is settled and none of it waits for a later attempt.
	From, To uint64
}

// Whole reports whether the lease is for the whole partition.
func (l Lease) Whole() bool { return l.To == 0 }

// Covers reports whether an offset is the holder's.
func (l Lease) Covers(offset uint64) bool {
	return l.Whole() || offset >= l.From && offset < l.To
}

// LeaseState is where the holder of a lease begins.
type LeaseState struct {
	// Incarnation is the topic's.
	Incarnation string
	// Low is the first offset of the partition that is not settled, and Next the one that its next
	// event gets.
	Low, Next uint64
	// Acked are the offsets at or behind Low that are settled, ascending.
	Acked []uint64
	// Deferred are the lease's events that wait for a later attempt, by offset.
	Deferred []Deferral
	// Suspects are the lease's events, by offset, that may have been started under an earlier lease
	// that ended without Release. They are not settled. Begin counts their starts.
	Suspects []uint64
	// Window is the consumer's.
	Window int
}

// ConsumerSink is a member of a consumer as the log sees it. Its methods never block, and do not
// call the log. The calls of one consumer come one after another.
//
// For each partition, or range of it: Assign of a lease, then any Wake, then either Release is
// called or Lost comes; only then is it assigned again, to anybody, under a higher fence. After
// Release has returned, or Lost has come, no Wake of that lease comes any more. After
// Consumer.Close has returned nothing comes at all.
type ConsumerSink interface {
	// Assign gives the consumer a lease. Its holder fetches at once.
	Assign(l Lease, st LeaseState)
	// Revoke asks the holder to release the lease. If it has not when by has passed, the lease is
	// lost.
	Revoke(l Lease, by time.Duration)
	// Lost tells that a lease is over, and why: err wraps ErrFenced. What was started and is not
	// settled is a suspect of the next one.
	Lost(l Lease, err error)
	// Wake tells the holder of a lease that there may be something to fetch, be it events or
	// letters to replay. It may come for nothing. A holder that has fetched until there was nothing
	// more is woken by what comes then, within [LogCapabilities.Poll].
	Wake(l Lease)
	// Gap reports events that the consumer will not get, once, but perhaps again after a crash.
	// From and To are offsets. Events that the holder of a lease has fetched are not reported.
	Gap(g Gap)
}

// Consumer is one bus's membership of a consumer. Its methods are safe for concurrent use. Under a
// lease that is not a living one of this member each fails with ErrFenced and changes nothing, also
// if it was called before the lease ended.
type Consumer interface {
	// Fetch reads events of the lease with offsets > after, ascending, up to both limits, at least
	// one if there is any. It never waits for events, and changes nothing that the log keeps. It
	// leaves out what is settled, and ends before Low plus window, since that can't be settled yet.
	Fetch(ctx context.Context, l Lease, after uint64, maxEvents, maxBytes int) (Fetched, error)

	// Load reads events that are deferred, in the order of refs: those that a Fetch does not return
	// any more. What was trimmed, or is not deferred under this lease, is left out.
	Load(ctx context.Context, l Lease, refs []EventRef) ([]Entry, error)

	// Begin adds one to the count of starts that the log keeps of an event since its last outcome,
	// and returns it. That is durable when it returns. A deferral sets the count to 0. It is for
	// suspects, events that were deferred, and letters that are replayed; the first start of any
	// other event is not counted.
	Begin(ctx context.Context, l Lease, ref EventRef) (starts int, err error)

	// Commit settles events. All of it is done or nothing, in one durable step. See [Commit].
	Commit(ctx context.Context, l Lease, c Commit) error

	// Release ends a lease in order, durably. What is not settled was not started, or has ended:
	// there are no suspects. Who releases a lease with events left in it, unasked by Revoke, is
	// leaving: it is assigned nothing more until it has consumed anew.
	Release(ctx context.Context, l Lease) error

	// Close ends the membership. Leases that were not released end as if the process had died. To
	// close again does nothing.
	Close(ctx context.Context) error
}
