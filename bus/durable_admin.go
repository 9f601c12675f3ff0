package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// needsDurable says that a topic that is not durable was given an option for one.
func (t *Topic[T]) needsDurable(o *publishOptions) error {
	err := ErrNotDurable
	if o.within.given {
		err = errors.Join(ErrNotAtomic, err)
	}
	return &Error{Op: "publish", Topic: t.info.name, Err: err, Detail: o.durable + " was given; nothing was published"}
}

// askLog is the log of the topic, which it has by then, for a call named op.
func (t *Topic[T]) askLog(ctx context.Context, op string) (transport.Log, error) {
	err := t.mayAskLog(ctx)
	if err == nil {
		err = t.openTopic(ctx)
	}
	if err != nil {
		return nil, t.logError(op, "", err)
	}
	return t.bus.durable.log, nil
}

func (t *Topic[T]) mayAskLog(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	if !t.info.durable {
		return ErrNotDurable
	}
	if t.bus.state.Load() == stateClosed {
		return ErrClosed
	}
	t.fanout.mu.Lock()
	defer t.fanout.mu.Unlock()
	if t.fanout.mu.closed {
		return ErrTopicClosed
	}
	return nil
}

// logError is what a call named op returns for an error of the log.
func (t *Topic[T]) logError(op, consumer string, err error) error {
	if err == nil {
		return nil
	}
	if errguard.Is(err, transport.ErrClosed) {
		err = errors.Join(ErrClosed, err)
	}
	return &Error{Op: op, Topic: t.info.name, Subscription: consumer, Err: errguard.Safe(err)}
}

// Cancel removes the event that waits in the log for its time, see [At], and was published with this
// [ID]. It reports false if none waits: it is due already, or never was there. After true the event is
// never handled, and its ID is free again.
//
// Errors: ErrNotDurable, ErrClosed, ctx's, the log's.
func (t *Topic[T]) Cancel(ctx context.Context, id string) (bool, error) {
	const op = "cancel an event"
	log, err := t.askLog(ctx, op)
	if err != nil {
		return false, err
	}
	if id == "" {
		return false, t.logError(op, "", fmt.Errorf("%w: the ID is empty; an event needs one by bus.ID to be canceled", ErrInvalidConfig))
	}
	found, err := log.Cancel(ctx, t.info.name, id)
	return found, t.logError(op, "", err)
}
