package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/router"
)

// States that callers match with errors.Is. They are wrapped in an *[Error] that says where.
var (
	// ErrNotStarted: the bus has Config.Hold, and Start has not returned yet.
	ErrNotStarted = errors.New("not started")
	// ErrClosed: the bus or the subscription is shutting down or has ended.
	ErrClosed = errors.New("closed")
	// ErrTopicClosed: Topic.Close was called. It wraps ErrClosed; the bus goes on.
	ErrTopicClosed = fmt.Errorf("topic %w", ErrClosed)
	// ErrInvalidName: a topic's or a subscription's name breaks the rules.
	ErrInvalidName = router.ErrInvalidName
	// ErrInvalidConfig: a Config, TopicConfig or option is out of its bounds.
	ErrInvalidConfig = errors.New("invalid configuration")
	// ErrTopicConflict: the bus has a topic of that name with another event type or another
	// configuration.
	ErrTopicConflict = errors.New("topic conflict")
	// ErrNilHandler: Subscribe was given no handler, or a middleware returned none.
	ErrNilHandler = errors.New("handler is nil")
	// ErrNilContext: a function that needs a context was given none.
	ErrNilContext = errors.New("context is nil")
	// ErrDuplicateSubscription: the topic already has a subscription of that name on this bus.
	ErrDuplicateSubscription = errors.New("duplicate subscription name")
	// ErrNotSubscribed: the topic has no subscription of that name on this bus.
	ErrNotSubscribed = errors.New("no such subscription")
	// ErrMailboxFull: a subscription with the policy Fail has no room.
	ErrMailboxFull = errors.New("mailbox full")
	// ErrWouldDeadlock: a handler asked for something that waits until the handler itself returns.
	ErrWouldDeadlock = errors.New("would deadlock")
	// ErrPanicBudget: a subscription was stopped because its handler panicked too often.
	ErrPanicBudget = errors.New("panic budget exceeded")
	// ErrGoexit: a handler ended its goroutine with runtime.Goexit, as testing.T.FailNow does.
	ErrGoexit = errors.New("handler called runtime.Goexit")
	// ErrNoReply: the handler acknowledged the request without a reply.
	ErrNoReply = errors.New("no reply")
	// ErrInvalidError: an error was returned whose own methods panic, end the goroutine, or
	// describe a chain of causes without end. A nil pointer that is returned as an error is the
	// usual case. It counts as a failure like any other. What Unwrap, Is and As could tell is still
	// found in the error that stands for it.
	ErrInvalidError = errguard.ErrBroken
	// ErrForeignBatchError: a batch handler returned a BatchError that is not about its batch.
	ErrForeignBatchError = errors.New("BatchError of another batch")
	// ErrGroupTransport: a Group was subscribed on a bus with a transport, to a topic that is not
	// durable. Such groups work within one process.
	ErrGroupTransport = errors.New("a Group of a topic that is not durable works within one process, and this bus has a transport: " +
		"set Class: bus.Durable and Config.Log, or leave the Group out")
	// ErrOtherType: an event of another process has another type than the topic has here, see
	// TopicConfig.TypeName. It is a dead letter.
	ErrOtherType = errors.New("event of another type")
	// ErrWrongType: an event was asked for as another type than its topic's.
	ErrWrongType = errors.New("wrong event type")
)

// The errors of this package ask those that they wrap through errguard.
var (
	_ = errguard.Own[*Error]()
	_ = errguard.Own[*BatchError]()
	_ = errguard.Own[*PanicError]()
	_ = errguard.Own[*Verdict]()
)

// causeOf is why ctx ended; the cause may be a user's error.
func causeOf(ctx context.Context) error { return errguard.Safe(context.Cause(ctx)) }

// Error is an operation of a bus that failed, and where. errors.Is finds context errors and the
// Err… values of this package behind it.
type Error struct {
	Op           string // "publish", "subscribe", "new topic", "drain", …
	Topic        string // empty when no topic was concerned
	Subscription string // empty when no subscription was concerned
	Detail       string // what was wrong, or what to do; may be empty
	Err          error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("bus: ")
	b.WriteString(e.Op)
	if e.Topic != "" {
		fmt.Fprintf(&b, " %s", e.Topic)
	}
	if e.Subscription != "" {
		fmt.Fprintf(&b, ": subscription %s", e.Subscription)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %s", errguard.Text(e.Err))
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// BatchError tells which events of a batch failed. PublishBatch returns one, and a handler of
// [Topic.SubscribeBatch] may.
type BatchError struct {
	// Topic is where the batch was to be published; a handler may leave it empty.
	Topic string
	// Total is how many events the batch had; a handler may leave it 0.
	Total int
	// Failed holds the events that failed, in order of their index. That of PublishBatch is never
	// empty.
	Failed []IndexedError
}

// IndexedError is why one event of a batch failed.
type IndexedError struct {
	Index int
	Err   error
}

func (e *BatchError) Error() string {
	what := "batch"
	if e.Topic != "" {
		what = "publish batch " + e.Topic
	}
	of := ""
	if e.Total > 0 {
		of = fmt.Sprintf(" of %d", e.Total)
	}
	if len(e.Failed) == 0 {
		return fmt.Sprintf("bus: %s: 0%s events failed", what, of)
	}
	first := e.Failed[0]
	return fmt.Sprintf("bus: %s: %d%s events failed, the first at index %d: %s",
		what, len(e.Failed), of, first.Index, errguard.Text(first.Err))
}

// Unwrap lets errors.Is and errors.As find every cause.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// PanicError is a panic of a handler or a middleware, as the error of a failed attempt.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the goroutine's stack, the panicking frame included
}

func (e *PanicError) Error() string { return "panic: " + errguard.Format(e.Value) }

// Unwrap is the panic's value if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
