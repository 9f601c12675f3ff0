package transport

import "time"

// Commit is what became of events of a lease. Each offset is the lease's, below Next, and below Low
// plus window, else the whole fails with ErrInvalidCommit. What is settled already stays as it is.
// The first offset that is not settled only ever grows, but by Seek.
type Commit struct {
	// Acked are the offsets of events that are done, deferred ones too.
	Acked []uint64
	// AckedLetters are the letters that were replayed and are done. They are gone.
	AckedLetters []uint64
	// Deferred are events that wait for a later attempt. They count as settled and keep their
	// place in the log; the next holder finds them in its [LeaseState].
	Deferred []Deferral
	// Dead are events that are given up. They become letters, with their original envelopes, which
	// trimming does not touch.
	Dead []DeadEvent
	// Append is what was published within events, durable with their outcomes.
	Append []DerivedBatch
}

// Deferral is an event that waits for a later attempt, or behind one of its key that does.
type Deferral struct {
	// Letter is not 0 if it is a letter's replay that is deferred.
	Offset, Letter uint64
	// Due is when the attempt is to be made, by the wall clock. The log does not act on it.
	Due time.Time
	// Attempt is the number of that attempt.
	Attempt int
	Key     string
	// Behind: it only waits behind another event of its key.
	Behind bool
	// Err is the text of the last error, and First when the first attempt failed; zero if none has.
	Err   string
	First time.Time
}

// Ref names the event.
func (d Deferral) Ref() EventRef { return EventRef{d.Offset, d.Letter} }

// DerivedBatch is what a handler published within an event. It is taken exactly when the Commit
// that it is in settles that event, so that a Commit may be repeated.
type DerivedBatch struct {
	// Within is the event.
	Within EventRef
	// Batch is appended. Its Publisher is zero: the Commit is what makes a repetition harmless.
	Batch
}

// DeadEvent is an event that is given up.
type DeadEvent struct {
	// Letter is not 0 if it is a letter whose replay was given up: that letter is updated, and
	// waits again.
	Offset, Letter uint64
	Failure        Failure
	// Envelope is the event as it was fetched. It is kept if the log has it no longer.
	Envelope *Envelope
}

// Ref names the event.
func (d DeadEvent) Ref() EventRef { return EventRef{d.Offset, d.Letter} }

// Failure is why an event was given up.
type Failure struct {
	// Error is the text of the last error, and ErrorType its Go type. They are cut to
	// MaxFailureText bytes.
	Error, ErrorType string
	// Stack is that of the last panic, cut to MaxFailureStack bytes; nil if there was none.
	Stack []byte
	// Attempts is how many there were.
	Attempts int
	// First and Last are when the first and the last one failed.
	First, Last time.Time
}

// Bounds of a [Failure]. A log cuts what is longer.
const (
	MaxFailureText  = 4 << 10
	MaxFailureStack = 16 << 10
)

// Bounded is f within its bounds.
func (f Failure) Bounded() Failure {
	f.Error = f.Error[:min(len(f.Error), MaxFailureText)]
	f.ErrorType = f.ErrorType[:min(len(f.ErrorType), MaxFailureText)]
	if len(f.Stack) > MaxFailureStack {
		f.Stack = f.Stack[:MaxFailureStack:MaxFailureStack]
	}
	return f
}
