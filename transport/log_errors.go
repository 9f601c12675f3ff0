package transport

import "errors"

// Errors that logs return, wrapped with where it happened, beside those of a [Transport].
var (
	// ErrFenced: the lease has ended. Nothing was changed.
	ErrFenced = errors.New("transport: the lease has ended")
	// ErrSought is why leases end by a Seek. It wraps ErrFenced.
	ErrSought error = &fencedError{"transport: the consumer was moved by Seek"}
	// ErrLogFull: there is no room. Nothing was changed; it may work later.
	ErrLogFull = errors.New("transport: the log has no room")
	// ErrLogFailed: the log has failed, and does nothing more until it is opened again.
	ErrLogFailed = errors.New("transport: the log has failed")
	// ErrUncertain: nobody can tell whether it took effect.
	ErrUncertain = errors.New("transport: the outcome is uncertain")
	// ErrTopicMismatch: the log has the topic otherwise than it was asked for.
	ErrTopicMismatch = errors.New("transport: the log has the topic otherwise")
	// ErrNoSuchTopic: the log does not have the topic.
	ErrNoSuchTopic = errors.New("transport: the log has no such topic")
	// ErrNoSuchConsumer: the topic has no consumer of that name.
	ErrNoSuchConsumer = errors.New("transport: no such consumer")
	// ErrOutOfSequence: numbers are missing before those of a batch.
	ErrOutOfSequence = errors.New("transport: out of sequence")
	// ErrStalePublisher: the publisher has gone on to a higher epoch.
	ErrStalePublisher = errors.New("transport: the publisher's epoch has ended")
	// ErrInvalidBatch: a Batch has no events, or Due or UserID of another length than Envelopes. It
	// is a mistake of the caller.
	ErrInvalidBatch = errors.New("transport: invalid batch")
	// ErrInvalidCommit: a Commit settles what its lease does not allow. It is a mistake of the
	// caller.
	ErrInvalidCommit = errors.New("transport: invalid commit")
	// ErrNotReplicated: the event is in the log, and not on as many replicas as was asked for.
	ErrNotReplicated = errors.New("transport: not replicated")
	// ErrNotAtomic: what is to be one step can't be in this log.
	ErrNotAtomic = errors.New("transport: it can't be one step")
	// ErrNewerFormat: a newer version of this library has written it.
	ErrNewerFormat = errors.New("transport: written by a newer version")
)

// fencedError is a reason for the end of a lease.
type fencedError struct{ text string }

func (e *fencedError) Error() string { return e.text }

func (e *fencedError) Unwrap() error { return ErrFenced }
