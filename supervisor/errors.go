package supervisor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// The errors of this package ask those that they wrap through errguard.
var (
	_ = errguard.Own[*PanicError]()
	_ = errguard.Own[*TooManyRestarts]()
	_ = errguard.Own[*EscalateError]()
	_ = errguard.Own[*AbandonedError]()
)

// What a child's Serve may return (as it is or wrapped).
var (
	// ErrDone ends a child for good, whatever its restart type.
	ErrDone = errors.New("supervisor: done")

	// ErrEscalate makes the supervisor give up: it stops its children and its Serve returns an
	// *EscalateError. For the supervisor above, if any, that is the failure of one child; it does
	// not travel further by itself.
	ErrEscalate = errors.New("supervisor: escalate")
)

// Causes of failures that a child does not report by itself.
var (
	// ErrGoexit is the failure of a child that called runtime.Goexit.
	ErrGoexit = errors.New("supervisor: child called runtime.Goexit")

	// ErrStartTimeout is the failure of a child that was not Ready in time. It is also the cause of
	// its context.
	ErrStartTimeout = errors.New("supervisor: not ready within its start timeout")

	// ErrOutlivedGrace is why a supervisor with a group strategy escalates for a child that it told
	// to stop.
	ErrOutlivedGrace = errors.New("supervisor: still running after its grace")
)

// What the methods of a supervisor return.
var (
	// ErrServing is returned by Serve while another call of it is running.
	ErrServing = errors.New("supervisor: already serving")

	// ErrStopping is returned by Add once shutdown has begun, until Serve returned.
	ErrStopping = errors.New("supervisor: stopping")

	// ErrDuplicate is returned by New and Add for a name that is taken; the name of an Abandoned
	// child is, until that child has ended.
	ErrDuplicate = errors.New("supervisor: duplicate name")

	// ErrUnknown is returned by Remove for a name that is not listed.
	ErrUnknown = errors.New("supervisor: unknown name")
)

// The causes of a child's context, told apart by context.Cause.
var (
	errShutdown = errors.New("supervisor: shutting down")
	errRemoved  = errors.New("supervisor: removed")
	errGroup    = errors.New("supervisor: restarting with its siblings")
	errEnded    = errors.New("supervisor: ended")
)

// PanicError is the failure of a child that panicked.
type PanicError struct {
	// Value is what the child panicked with.
	Value any
	// Stack is the stack of the goroutine, from the panicking frame down.
	Stack []byte
}

// Error returns the panic value, without the stack.
func (e *PanicError) Error() string { return "panic: " + errguard.Format(e.Value) }

// Unwrap returns the panic value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// TooManyRestarts is returned by Serve when a failure would have been one restart more than the
// supervisor allows.
type TooManyRestarts struct {
	Supervisor  string        // the supervisor that gave up
	Child       string        // the child whose failure was one too many
	MaxRestarts int           // how many are allowed within the window
	Within      time.Duration // the window
	Err         error         // why that child failed; nil if a Permanent one returned nil
}

// Error names the supervisor, the child, the limit and the last failure.
func (e *TooManyRestarts) Error() string {
	return fmt.Sprintf("supervisor %q: more than %d restarts within %v; the last was for %q: %s",
		e.Supervisor, e.MaxRestarts, e.Within, e.Child, reason(e.Err))
}

// Unwrap returns Err.
func (e *TooManyRestarts) Unwrap() error { return e.Err }

// EscalateError is returned by Serve when one child made the supervisor give up: it returned
// ErrEscalate, it was Abandoned under a group strategy (ErrOutlivedGrace), or it was significant,
// Temporary and failed.
type EscalateError struct {
	Supervisor string
	Child      string
	Err        error
}

// Error names the supervisor, the child and the cause.
func (e *EscalateError) Error() string {
	return fmt.Sprintf("supervisor %q: escalated by %q: %s", e.Supervisor, e.Child, reason(e.Err))
}

// Unwrap returns Err.
func (e *EscalateError) Unwrap() error { return e.Err }

// AbandonedError is returned by Serve and Remove when something is still running that should have
// ended.
type AbandonedError struct {
	// Paths names the children, from the supervisor that returned the error on down, with slashes
	// between.
	Paths []string
	// Hook is true if the OnEvent of the supervisor has not returned.
	Hook bool
	// Err is why Serve ended; nil if it was asked to.
	Err error
}

// Error names everything that is still running, and why Serve ended.
func (e *AbandonedError) Error() string {
	names := e.Paths
	if e.Hook {
		names = append(names[:len(names):len(names)], "OnEvent")
	}
	text := "supervisor: abandoned, still running: " + strings.Join(names, ", ")
	if e.Err != nil {
		text += ": " + errguard.Text(e.Err)
	}
	return text
}

// Unwrap returns Err.
func (e *AbandonedError) Unwrap() error { return e.Err }

func reason(err error) string {
	if err == nil {
		return "returned nil"
	}
	return errguard.Text(err)
}

// outcome is how a child's Serve ended, as far as decisions go.
type outcome uint8

const (
	finished  outcome = iota // nil
	done                     // ErrDone
	failed                   // an error, a panic, a Goexit
	escalated                // ErrEscalate
)

// classify returns the outcome of a Serve that returned err.
func classify(err error) outcome {
	switch {
	case err == nil:
		return finished
	case says(err, ErrEscalate):
		return escalated
	case says(err, ErrDone):
		return done
	}
	return failed
}

// says is errors.Is, except that it does not look inside the errors of this package: what a
// supervisor below reports about its own children, and what a child panicked with, say nothing to
// the supervisor above.
func says(err, sentinel error) bool {
	return errguard.IsOutside(err, sentinel, func(err error) (skip bool) {
		switch err.(type) { //nolint:errorlint // the error itself, for a walk down the chain
		case *EscalateError, *TooManyRestarts, *AbandonedError, *PanicError:
			return true
		}
		return false
	})
}
