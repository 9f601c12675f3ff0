package transport

import (
	"context"
	"time"
)

// Log keeps the events of durable topics. An event that it has taken stays until its topic's
// [Retain] lets it go; consumers read it as often as they need to, and tell what they are done
// with. It knows no handlers and decides nothing about attempts: what it is told it keeps. A log may
// be a [HealthReporter].
// bustest/logtest checks one against every sentence here.
//
// All methods are safe for concurrent use. A context that has ended fails a call with its cause, so
// that errors.Is(err, context.Cause(ctx)). If it ends while nobody can tell whether the call took
// effect, the error wraps [ErrUncertain] too. A log serves one bus at a time, see [Claimer].
//
// Sinks are called by Serve only. So no method calls a sink on its caller's goroutine, and a sink
// may be called before Consume has returned.
type Log interface {
	// LogCapabilities says what this log does. It never changes.
	LogCapabilities() LogCapabilities

	// Serve does what nobody calls for, until ctx ends: it hands out leases, calls the sinks,
	// appends what is due, and trims. It then returns nil, once nothing of it runs any more and no
	// sink is called. An error means that it failed; the bus's supervisor then calls Serve again.
	// Leases outlive it, and what a sink was not told yet it is told by the next. A second Serve
	// beside the first fails at once with ErrInUse and leaves the first alone. The other methods
	// work without it, but for what they leave to it.
	Serve(ctx context.Context) error

	// Open makes the topic, or returns what is there. Retain and DedupIDs may change from one Open
	// to the next. Partitions, Codec and Colocate may not: an error that wraps ErrTopicMismatch
	// says what the log has and what was asked for. An invalid topic fails with ErrInvalidTopic.
	Open(ctx context.Context, topic LogTopic) (TopicState, error)

	// Append adds batches, and returns when all that it took is durable, to the degree that the log
	// was opened with: results[i] says what became of batches[i]. Each succeeds or fails by itself.
	// A batch is taken whole or not at all, in order, and what it adds gets consecutive offsets. An
	// event that was acknowledged has its place in the order of its partition from then on, and
	// nothing is put before it. See [Batch].
	//
	// The slices have equal length and belong to the caller again afterwards. The envelopes, with
	// all they point to, belong to the log from the call on. It leaves payloads as they are: a
	// repetition brings other envelopes with the same ones.
	Append(ctx context.Context, batches []Batch, results []AppendResult)

	// Cancel removes the event that waits in the topic under this ID for its time, see
	// [Batch.Due]. It reports false if none waits: it has been added, or never was there. A
	// canceled event's ID is free again.
	Cancel(ctx context.Context, topic, id string) (bool, error)

	// Consume joins a consumer of a topic, and makes it, at c.Start, if there is none of that name.
	// That is durable when Consume returns, so that Latest means "from this return on". The log
	// then assigns leases through the sink. Consuming under a name twice at once from one bus is
	// ErrInUse.
	Consume(ctx context.Context, c ConsumerConfig, sink ConsumerSink) (Consumer, error)

	// Letters returns dead letters of a consumer, oldest first.
	Letters(ctx context.Context, q LetterQuery) (LetterPage, error)

	// SettleLetters replays or purges dead letters of a consumer, and returns how many of ids there
	// were. Those that are gone already are skipped, so that a repetition does no harm.
	SettleLetters(ctx context.Context, topic, consumer string, ids []uint64, what LetterAction) (int, error)

	// Positions tells where a consumer of the topic stands, or all of them if consumer is empty: one
	// Position for each of them and each partition, by name and partition. Each is one consistent
	// view of its partition.
	Positions(ctx context.Context, topic, consumer string) ([]Position, error)

	// Seek moves a consumer to another place. It ends all its leases, with Lost and ErrSought,
	// forgets what was acknowledged behind the new place, drops its deferrals, and keeps its
	// letters. The same members are then assigned again, under new fences. It works with nobody
	// there.
	Seek(ctx context.Context, topic, consumer string, to Start) error

	// Forget removes a consumer with all that is kept for it. While it has a member that is
	// ErrInUse.
	Forget(ctx context.Context, topic, consumer string) error

	// DeleteTopic removes a topic with all that it has. While it is consumed that is ErrInUse.
	DeleteTopic(ctx context.Context, topic string) error

	// Topics lists the topics that the log keeps, by name.
	Topics(ctx context.Context) ([]LogTopic, error)

	// Close ends the log for good, a running Serve included, and waits for that. Leases that were
	// not released end as if the process had died. Every later call fails with an error that wraps
	// ErrClosed, but Close, which does nothing.
	Close() error
}

// LogSyncer is a log that may be opened so that Append and Commit return before what they did is
// durable. Until it is, it can't be read either.
type LogSyncer interface {
	// Sync returns when all that Append and Commit have returned for is durable.
	Sync(ctx context.Context) error
}

// LogProvider is a transport that brings a log of its own. A bus whose configuration names no other
// keeps its durable topics in it.
type LogProvider interface {
	// Log is the log of the same broker; always the same one.
	Log() Log
}

// LogCapabilities is what a log can do.
type LogCapabilities struct {
	// Name is the log's name in messages and trees, for example "file".
	Name string
	// MaxPayload is the largest payload in bytes; 0 means no limit.
	MaxPayload int
	// Shared: several buses may consume from it at once.
	Shared bool
	// Replicas: [LogTopic.Replicas] is understood.
	Replicas bool
	// Within: [Commit.Append] is understood. Otherwise a Commit that has one fails with
	// ErrNotAtomic.
	Within bool
	// Poll is by how much a Wake may be late, at most.
	Poll time.Duration
}

// CheckPayload returns an error that wraps ErrTooLarge if a payload is larger than MaxPayload.
func (c LogCapabilities) CheckPayload(payload []byte) error {
	return Capabilities{MaxPayload: c.MaxPayload}.CheckPayload(payload)
}
