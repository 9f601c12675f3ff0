package appender

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// patience is how long an append is repeated. It is far below PublisherIdle, after which a log might
// take a repetition for a new batch.
const patience = 15 * time.Minute

// maxRaises is how often the numbers of a batch are changed. Each time the epoch goes up by twice as
// much.
const maxRaises = 8

// effect is what an attempt has done.
type effect int

const (
	taken        effect = iota // the log has it
	refused                    // this attempt has added nothing
	outOfNumbers               // neither, and its numbers are not those that the log expects
	unknown                    // nobody can tell
)

// effectOf is what an attempt has done. What the contract of a log does not name is unknown.
func effectOf(err error) effect {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errguard.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return taken
	case is(transport.ErrUncertain, transport.ErrLogFailed):
		return unknown
	case is(transport.ErrNotReplicated):
		return taken
	case is(transport.ErrOutOfSequence, transport.ErrStalePublisher):
		return outOfNumbers
	case is(transport.ErrLogFull, transport.ErrTooLarge, transport.ErrInvalidBatch, transport.ErrInvalidTopic,
		transport.ErrNoSuchTopic, transport.ErrTopicMismatch, transport.ErrNewerFormat, transport.ErrClosed):
		return refused
	}
	return unknown
}

// step is what to do after an attempt.
type step int

const (
	accept   step = iota // the callers get the result
	reject               // the callers get the error; the numbers are used again
	giveUp               // the callers get ErrUncertain; the numbers may be in use
	repeat               // the same batch with the same numbers
	renumber             // the same batch in a new epoch
)

// attempts is what is known of the attempts at a batch.
type attempts struct {
	n      int
	began  *time.Time // the first; nil: none was
	raises int        // how often it was given new numbers
	doubt  error      // of the last attempt with these numbers that may have been taken
	broken bool       // the log's code has panicked, or ended the goroutine
}

// decide is what to do after an attempt.
func (t *attempts) decide(r *transport.AppendResult, now time.Time) step {
	o := effectOf(r.Err)
	if t.broken { // whatever it panics with
		o = unknown
	}
	switch {
	case o == taken && r.Repeated && t.doubt == nil:
		// Nobody has appended it: someone else uses the numbers. The events are not in the log.
		if t.raises < maxRaises {
			return renumber
		}
		r.Err = fmt.Errorf("%w: another publisher has the same name", transport.ErrStalePublisher)
		return reject
	case o == taken:
		return accept
	case o == unknown:
		t.doubt = r.Err
		if t.broken || elapsed(*t.began, now) >= patience {
			return giveUp
		}
		return repeat
	case t.doubt == nil && o == outOfNumbers && t.raises < maxRaises:
		return renumber
	case t.doubt == nil:
		return reject
	case errguard.Is(r.Err, transport.ErrLogFull) && elapsed(*t.began, now) < patience:
		return repeat // it may have been taken before, and there may be room again
	}
	// An earlier attempt may have been taken. In a new epoch it would be taken again.
	return giveUp
}

// backoff is how long to wait before the attempt after n.
func backoff(n int) time.Duration {
	return min(time.Second, time.Millisecond<<min(n-1, 10))
}

// uncertain is cause as the error of events that may be in the log.
func uncertain(cause error) error {
	if errguard.Is(cause, transport.ErrUncertain) {
		return errguard.Safe(cause)
	}
	return fmt.Errorf("%w: %w", transport.ErrUncertain, errguard.Safe(cause))
}
