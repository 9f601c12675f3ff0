package usercode

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/shardbus/shardbus/internal/errguard"
)

// ErrGoexit says that the function ended its goroutine with runtime.Goexit, as testing.T.FailNow
// does.
var ErrGoexit = errors.New("called runtime.Goexit")

// PanicError is a panic of a user's function.
type PanicError struct {
	What  string // names the function
	Value any
	Stack []byte // the goroutine's stack, the panicking frame included
}

var _ = errguard.Own[*PanicError]()

func (e *PanicError) Error() string { return e.What + " panicked: " + errguard.Format(e.Value) }

// Unwrap is the panic's value if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return errguard.Safe(err)
}

// Call runs f on a goroutine of its own and returns when f has ended, with its error, a
// *PanicError, or an error that wraps ErrGoexit. what names f in those. The methods of the error
// are safe to call.
func Call(what string, f func() error) error {
	ended := make(chan error, 1)
	go run(what, f, func(err error) { ended <- err })
	return <-ended
}

// run calls f, and then ended with what became of it, whatever f does to the goroutine.
func run(what string, f func() error, ended func(error)) {
	err := fmt.Errorf("%s %w", what, ErrGoexit)
	defer func() { ended(err) }()
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{What: what, Value: r, Stack: debug.Stack()}
		}
	}()
	err = errguard.Safe(f())
}
