package bus

import "github.com/shardbus/shardbus/internal/errguard"

// batchErrorIn is the BatchError that err is or wraps, or nil: not one that is a
// verdict's cause or a panic's value. One that is joined with something else says
// nothing clear, and counts as one that names no event.
func batchErrorIn(err error) *BatchError {
	joined := false
	be, ok := errguard.AsOutside[*BatchError](err, func(err error) (skip bool) {
		switch err.(type) { //nolint:errorlint // a walk down the chain, which some types end
		case *Verdict, *PanicError:
			return true
		case *BatchError:
		case interface{ Unwrap() []error }:
			joined = true
		}
		return false
	})
	switch {
	case !ok:
		return nil
	case joined:
		return &BatchError{}
	}
	return be
}

// fits tells whether e can be about a batch of n events.
func (e *BatchError) fits(n int) bool {
	if len(e.Failed) == 0 || e.Total != 0 && e.Total != n {
		return false
	}
	for _, f := range e.Failed {
		if f.Index < 0 || f.Index >= n {
			return false
		}
	}
	return true
}
