package bus

import (
	"context"
	"encoding/json"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// PartitionLag is where a consumer of a durable topic, a group or the subscription of that name, stands in
// one partition.
type PartitionLag struct {
	Consumer  string
	Partition int
	// Lag is how many events the consumer has yet to be done with: those that it has not read, those in
	// its mailboxes and handlers, and those that are deferred. It is exact, also where the log has let go
	// of events. Events that wait for a time, see [At], are not in the log's order yet and don't count.
	Lag uint64
	// Deferred is how many of those wait for another attempt, or behind one of their key. DeadLetters are
	// not in Lag.
	Deferred, DeadLetters uint64
	// First is the offset of the oldest event that the log keeps, and Next that of the next to come. Low is
	// the first that the consumer is not done with or has not deferred; Next if there is none.
	First, Next, Low uint64
	// Oldest is when the log took the event at Low; zero if there is none.
	Oldest time.Time
	// Owner is the ID of the bus that holds the partition, or a range of it; empty while nobody does.
	// Standby are those of the buses that wait for it: a consumer that is no group has one bus at a time.
	Owner   string
	Standby []string
}

// MarshalJSON writes all of it, but for what is empty.
func (l PartitionLag) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Consumer    string    `json:"consumer"`
		Partition   int       `json:"partition"`
		Lag         uint64    `json:"lag"`
		Deferred    uint64    `json:"deferred"`
		DeadLetters uint64    `json:"dead_letters"`
		First       uint64    `json:"first"`
		Next        uint64    `json:"next"`
		Low         uint64    `json:"low"`
		Oldest      time.Time `json:"oldest,omitzero"`
		Owner       string    `json:"owner,omitzero"`
		Standby     []string  `json:"standby,omitempty"`
	}(l))
}

// Lag tells how far every consumer of the topic has come: one PartitionLag for each consumer that the log
// knows and each partition, by name and partition, whether anybody consumes now or not. Each is one
// consistent view of its partition.
//
// Errors: ErrNotDurable, ErrClosed, ctx's, the log's.
func (t *Topic[T]) Lag(ctx context.Context) ([]PartitionLag, error) {
	const op = "read the lag"
	log, err := t.askLog(ctx, op)
	if err != nil {
		return nil, err
	}
	positions, err := log.Positions(ctx, t.info.name, "")
	if err != nil {
		return nil, t.logError(op, "", err)
	}
	lags := make([]PartitionLag, len(positions))
	for i, p := range positions {
		lags[i] = PartitionLag{
			Consumer: p.Consumer, Partition: p.Partition, Lag: p.Lag(), Deferred: p.Deferred, DeadLetters: p.Letters,
			First: p.First, Next: p.Next, Low: p.Low, Oldest: p.Oldest, Owner: p.Owner, Standby: p.Standby,
		}
	}
	return lags, nil
}

// Seek moves a consumer of the topic, a group or the subscription of that name, to another place of the
// log. What it was done with behind that place comes again, what is before it and was not handled does not,
// and what was deferred is deferred no more. Dead letters stay. It works whether anybody consumes or not.
// Where somebody does, on this bus or another, events that wait in mailboxes are returned, the contexts of
// running handlers are canceled with a cause that wraps transport.ErrSought, and what those return is
// counted as Fenced.
//
// Errors: ErrNotDurable, ErrClosed, transport.ErrNoSuchConsumer, ctx's, the log's.
func (t *Topic[T]) Seek(ctx context.Context, consumer string, to Start) error {
	const op = "seek"
	log, err := t.askLog(ctx, op)
	if err != nil {
		return err
	}
	return t.logError(op, consumer, log.Seek(ctx, t.info.name, consumer, to.at))
}

// Forget removes what the log keeps for a consumer of the topic, a group or the subscription of that name:
// its place, its deferred events and its dead letters. Its name is new then, see [From]. It is for names
// that nobody uses any more; while a bus has a subscription of it, the error wraps transport.ErrInUse.
//
// Errors: ErrNotDurable, ErrClosed, transport.ErrInUse, transport.ErrNoSuchConsumer, ctx's, the log's.
func (t *Topic[T]) Forget(ctx context.Context, consumer string) error {
	const op = "forget a consumer"
	log, err := t.askLog(ctx, op)
	if err != nil {
		return err
	}
	if err := log.Forget(ctx, t.info.name, consumer); errguard.Is(err, transport.ErrInUse) {
		return &Error{Op: op, Topic: t.info.name, Subscription: consumer, Err: errguard.Safe(err), Detail: "a bus consumes under this name: end its subscriptions first"}
	} else if err != nil {
		return t.logError(op, consumer, err)
	}
	return nil
}

// Delete closes a durable topic on this bus, as [Topic.Close] does, and then removes it from the log, with
// all its events, consumers, deferred events and dead letters. One that the log does not have is removed
// already. While another bus consumes it, the error wraps transport.ErrInUse, and the log keeps all of it;
// on this bus it is closed all the same, and Delete may be called again.
//
// A bus that still has the topic can publish on it no more: it gets transport.ErrNoSuchTopic. NewTopic
// makes a new topic of that name, whose offsets begin at 1.
//
// Errors: ErrNotDurable, ErrClosed where the bus has ended, those of Close, transport.ErrInUse, ctx's, the
// log's.
func (t *Topic[T]) Delete(ctx context.Context) error {
	const op = "delete topic"
	if err := t.mayAskLog(ctx); err != nil && !errguard.Is(err, ErrTopicClosed) {
		return t.logError(op, "", err)
	}
	if err := t.Close(ctx); err != nil {
		return err
	}
	f := t.feeds()
	if err := f.begin(ctx); err != nil {
		return t.logError(op, "", err)
	}
	defer f.end()
	err := f.durable.log.DeleteTopic(ctx, t.info.name)
	switch {
	case err == nil, errguard.Is(err, transport.ErrNoSuchTopic):
		f.deleted = true
		f.opened.Store(false)
		return nil
	case errguard.Is(err, transport.ErrInUse):
		return &Error{Op: op, Topic: t.info.name, Err: errguard.Safe(err), Detail: "another bus consumes it; it is closed on this one"}
	}
	return t.logError(op, "", err)
}
