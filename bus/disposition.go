package bus

import (
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// disposition is what a failed attempt leads to.
type disposition struct {
	act      Action
	after    time.Duration // of ActionRetry and ActionSnooze
	actor    string        // whose actor panicked, by key
	err      error         // the verdict's
	cause    error         // the attempt's
	stack    []byte        // of the attempt's panic
	abandon  bool          // it was cut short: act is no verdict on the event
	panicked bool          // the handler or a middleware panicked or called Goexit
	thrown   *PanicError   // the panic, if it was one

	// Of a durable topic: the event goes back to its log unstarted, or, with trimmed, the log has it no
	// more; or its lease was lost, and its outcome does not count.
	returned, trimmed, fenced bool
}

// minDelay is the least time until another attempt. Without it an event that can't be
// handled now, and asks for no delay, would keep a processor busy for as long as that lasts.
const minDelay = time.Millisecond

// dispose finds the verdict in err, or makes one: without a valid one the delivery
// is a dead letter. What is kept of err is safe to be asked: its methods are user code.
func dispose(err error) (j disposition) {
	err = errguard.Safe(err)
	j = disposition{act: ActionDeadLetter, err: err, cause: err}
	if pe, ok := errguard.As[*PanicError](err); ok {
		j.stack, j.panicked, j.thrown = pe.Stack, true, pe
	}
	j.panicked = j.panicked || errguard.Is(err, ErrGoexit)
	if v, ok := VerdictOf(err); ok && v.Action >= ActionRetry && v.Action <= ActionDiscard {
		j.act, j.after, j.err = v.Action, max(minDelay, v.After), errguard.Safe(v.Err)
	}
	return j
}

// nextAttempt is the number of the attempt that follows one, if any does.
func (j *disposition) nextAttempt(number int) int {
	if j.act == ActionRetry {
		return number + 1
	}
	return number
}

// again tells whether the delivery gets another attempt.
func (j *disposition) again() bool {
	return !j.abandon && (j.act == ActionRetry || j.act == ActionSnooze)
}
