package errguard_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/internal/errguard"
)

type lateError struct{ err error }

func (e *lateError) Error() string { return "late: " + errguard.Text(e.err) }
func (e *lateError) Unwrap() error { return e.err }

// A package may be initialised while a bus that another one started is at work.
func TestOwnWhileOthersAsk(t *testing.T) {
	cause := errors.New("cause")
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 1000 {
				if err := errguard.Safe(fmt.Errorf("x: %w", &lateError{cause})); !errguard.Is(err, cause) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	errguard.Own[*lateError]()
	asking.Wait()
}
