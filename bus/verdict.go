package bus

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// Action is what becomes of a delivery after an attempt.
type Action uint8

const (
	// ActionRetry runs the delivery again after a delay and counts the attempt.
	ActionRetry Action = iota + 1
	// ActionSnooze runs it again after a delay without counting the attempt.
	ActionSnooze
	// ActionDeadLetter gives it up and keeps it as a dead letter.
	ActionDeadLetter
	// ActionDiscard gives it up and only counts it.
	ActionDiscard
)

var actionNames = [...]string{ActionRetry: "retry", ActionSnooze: "snooze", ActionDeadLetter: "dead letter", ActionDiscard: "discard"}

func (a Action) String() string {
	if a > 0 && int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Verdict is an error that decides what becomes of a delivery. Handlers and middleware return one
// to say so; an error that is not a Verdict fails the attempt, and without a middleware that makes
// a verdict of it (Retry) the delivery is a dead letter.
type Verdict struct {
	Action Action
	// After is the delay of ActionRetry and ActionSnooze. Below 1 ms, 0 and negative included, it
	// counts as 1 ms.
	After time.Duration
	// Err is the cause; nil with ActionSnooze, and where none was given.
	Err error
}

func (v *Verdict) Error() string {
	text := v.Action.String()
	switch v.Action {
	case ActionRetry:
		text += fmt.Sprintf(" after %v", v.After)
	case ActionSnooze:
		text += fmt.Sprintf(" for %v", v.After)
	default: // the others have no delay
	}
	if v.Err != nil {
		text += ": " + errguard.Text(v.Err)
	}
	return text
}

func (v *Verdict) Unwrap() error { return v.Err }

// RetryAfter fails the attempt because of err and runs the delivery again after d, which is at
// least 1 ms. Meanwhile later events of the same key wait; others go on. Of a durable topic the log keeps
// the time and the number of the attempt, so that a restart changes neither.
func RetryAfter(d time.Duration, err error) error {
	return &Verdict{Action: ActionRetry, After: d, Err: err}
}

// Snooze runs the delivery again after d, which is at least 1 ms, and counts no attempt: it is for
// a handler that can't work now, not for one that failed. It may go on without end, so choose d
// with the cost of an attempt in mind.
func Snooze(d time.Duration) error { return &Verdict{Action: ActionSnooze, After: d} }

// DeadLetter gives the delivery up because of err. Retry does not change that.
func DeadLetter(err error) error { return &Verdict{Action: ActionDeadLetter, Err: err} }

// Discard gives the delivery up because of err without keeping it: it counts as discarded.
func Discard(err error) error { return &Verdict{Action: ActionDiscard, Err: err} }

// VerdictOf finds the verdict in err's chain, but for one that was given to panic. Middleware uses
// it to leave alone what was already decided further in. Whatever the methods of err do, it
// returns: see [ErrInvalidError].
func VerdictOf(err error) (*Verdict, bool) {
	if err == nil {
		return nil, false
	}
	return errguard.AsOutside[*Verdict](err, isPanic)
}

func isPanic(err error) bool {
	_, ok := err.(*PanicError) //nolint:errorlint // the error itself, for a walk down the chain
	return ok
}
