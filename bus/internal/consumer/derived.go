package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// derived is what is published within an event, to be appended with its Ack.
type derived struct {
	mu      sync.Mutex
	attempt uint32 // counts them
	open    bool   // an attempt runs
	batches []transport.DerivedBatch
	bytes   int
}

// derivedBytes is how many bytes that are published within events gather for one commit, about.
const derivedBytes = 1 << 20

// Open begins an attempt, within which Stage may be called, and returns what it is known by. What was
// staged before is forgotten.
func (e *Event) Open() (attempt uint32) {
	d := &e.derived
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempt++
	d.open, d.batches, d.bytes = true, nil, 0
	return d.attempt
}

// Seal ends the attempt: Stage takes nothing more. An Ack that follows appends what was staged; whatever
// else follows forgets it.
func (e *Event) Seal() {
	d := &e.derived
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = false
}

// Stage adds to what is to be appended with the event's Ack: all of batches, or nothing. It reports false
// if the attempt has ended. It may be called by any goroutine. The batches have no Publisher.
func (e *Event) Stage(attempt uint32, batches []transport.Batch) bool {
	d := &e.derived
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open || d.attempt != attempt {
		return false
	}
	for _, b := range batches {
		d.batches = append(d.batches, transport.DerivedBatch{Within: e.Ref(), Batch: b})
		for _, env := range b.Envelopes {
			d.bytes += env.Size()
		}
	}
	return true
}

// Drop forgets what was staged: the attempt did not succeed.
func (e *Event) Drop() {
	d := &e.derived
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.batches, d.bytes = false, nil, 0
}

// Of reports whether the event was read by r.
func (e *Event) Of(r *Reader) bool { return e.lease != nil && e.lease.c.reader == r }

// refused reports whether a commit failed for what it appends, so that a repetition fails too.
func refused(err error) bool {
	for _, of := range []error{
		transport.ErrNoSuchTopic, transport.ErrInvalidTopic, transport.ErrTooLarge, transport.ErrInvalidBatch, transport.ErrNotAtomic,
	} {
		if errguard.Is(err, of) {
			return true
		}
	}
	return false
}

// ErrNotAppended: what was published within an event can't be appended. The event is given up.
var ErrNotAppended = errors.New("what was published within the event can't be appended")

// commitApart commits the outcomes of c, whose appends the log has refused, so that those are found which
// it refuses: their events, of deriving, become dead letters. It returns c as it was committed. Where it
// fails half way, c may be committed again as it was.
func (l *lease) commitApart(ctx context.Context, handle transport.Consumer, c transport.Commit, deriving []*Event) (transport.Commit, error) {
	done := c
	done.Acked, done.AckedLetters, done.Append = nil, nil, nil
	apart := make(map[transport.EventRef]bool)
	var letters []uint64
	for _, e := range deriving {
		apart[e.Ref()] = true
		if e.Letter != 0 {
			letters = append(letters, e.Letter)
		}
	}
	for _, offset := range c.Acked {
		if !apart[transport.EventRef{Offset: offset}] {
			done.Acked = append(done.Acked, offset)
		}
	}
	for _, letter := range c.AckedLetters {
		if !slices.Contains(letters, letter) {
			done.AckedLetters = append(done.AckedLetters, letter)
		}
	}
	if err := l.callCommit(ctx, handle, done); err != nil {
		return c, err
	}
	for _, e := range deriving {
		var one transport.Commit
		e.ackIn(&one)
		err := l.callCommit(ctx, handle, one)
		if refused(err) {
			err = fmt.Errorf("%w: %w", ErrNotAppended, errguard.Safe(err))
			l.c.report(err)
			now := time.Now()
			failure := transport.Failure{Error: err.Error(), ErrorType: fmt.Sprintf("%T", err), Attempts: e.attempt, First: now, Last: now}
			one = transport.Commit{Dead: []transport.DeadEvent{{Offset: e.Offset, Letter: e.Letter, Failure: failure, Envelope: e.Envelope}}}
			err = l.callCommit(ctx, handle, one)
		}
		if err != nil {
			return c, err
		}
		done = joined(done, one)
	}
	return done, nil
}

// callCommit calls the log, whose methods are user code.
func (l *lease) callCommit(ctx context.Context, handle transport.Consumer, c transport.Commit) error {
	return usercode.Call("Commit of the log", func() error { return handle.Commit(ctx, l.id, c) })
}
