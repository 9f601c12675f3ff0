package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// ErrOver: an event's lease has ended, or is being given back: the event must not be started.
var ErrOver = errors.New("the event's lease is over")

// ErrTrimmed: the log has let go of a deferred event before its attempt.
var ErrTrimmed = errors.New("the log no longer has the event")

// Event is an event of a lease, on its way to a handler. Every event that a [Target] is given ends in
// one call of Ack, Discard, Dead, Return, Abandon or Trimmed; until then Defer may come any number of
// times. The lane that handles an event is the only one to call its methods.
type Event struct {
	// Envelope is the event. Of one that was deferred by an earlier holder its key alone is known
	// until Begin.
	Envelope *transport.Envelope
	// Offset is its place in its partition; Letter is not 0 for a dead letter that is replayed.
	Offset, Letter uint64
	// At is when the log took it; zero where Begin has yet to load it.
	At time.Time
	// Due is when it is to be attempted, of an event given to Target.Adopt. Behind says that it only
	// waits behind another of its key.
	Due    time.Time
	Behind bool

	lease *lease
	bytes int
	// attempt is the number of its next attempt, if no start since is counted.
	attempt int
	counted bool // the log counts its starts: Begin must come before each
	suspect bool
	first   time.Time // when its first attempt failed
	lastErr string
	// deferredIn is the number of the lease's commit that has its deferral.
	deferredIn uint64
	held       bool // deferred: it is not among the lease's outstanding events
	started    bool // Begin was called, and there is no outcome yet: the lease is not released before
	back       bool // Return was called
	logged     bool // its last deferral is in the log, or in the commit that gathers
	derived    derived
	// counter counts the events of a subscription whose outcome is in the log; nil: nobody asks.
	counter Counter
}

// Counter counts what is in the log.
type Counter interface{ Add(n uint64) uint64 }

// CountIn has c count the event once its outcome is in the log.
func (e *Event) CountIn(c Counter) { e.counter = c }

// Ref names the event.
func (e *Event) Ref() transport.EventRef {
	return transport.EventRef{Offset: e.Offset, Letter: e.Letter}
}

// Partition is the event's.
func (e *Event) Partition() int { return e.Envelope.Partition }

// Redelivered reports whether the event may have been given to a handler before that did not finish:
// its process died, or lost its lease.
func (e *Event) Redelivered() bool { return e.suspect }

// Attempt is the number of the event's next attempt, as far as the log has not counted starts since.
func (e *Event) Attempt() int { return e.attempt }

// GivenBack reports whether the event was with a lane before.
func (e *Event) GivenBack() bool { return e.back }

// Deferred reports whether the log keeps the event as deferred, or will before what is told it later. The
// next holder of the lease finds it before what is not.
func (e *Event) Deferred() bool { return e.logged }

// Lease stands for the event's lease, to be compared.
func (e *Event) Lease() any { return e.lease }

// Over reports whether the event must not be started: its lease has ended or is being given back. It
// must then be given back by Return.
func (e *Event) Over() bool { return e.lease.state.Load() != leaseLive }

// Fenced reports whether the lease was lost: whatever becomes of the event, the log does not take it.
func (e *Event) Fenced() bool { return e.lease.state.Load() == leaseLost }

// Begin is called before an attempt. For an event that is attempted for the first time it does
// nothing. Of others it has the log count the start, and loads what is not loaded; it waits for the log
// while ctx lasts. It returns the number of the attempt and how many starts, this one included, have
// had no outcome.
//
// Errors: ErrOver, after which the event is to be given back; ErrTrimmed, after which it is Trimmed; ctx's.
func (e *Event) Begin(ctx context.Context) (attempt, starts int, err error) {
	if !e.lease.start(e) {
		return 0, 0, ErrOver
	}
	if !e.counted {
		return e.attempt, 1, nil
	}
	return e.lease.begin(ctx, e)
}

// Ack says that the event is done, and appends what was staged within it. See Discard.
func (e *Event) Ack() { e.lease.settle(e, func(c *transport.Commit) { e.ackIn(c) }, false) }

// Discard says that the event is done without having been handled.
func (e *Event) Discard() {
	e.Drop()
	e.Ack()
}

func (e *Event) ackIn(c *transport.Commit) {
	if e.Letter != 0 {
		c.AckedLetters = append(c.AckedLetters, e.Letter)
	} else {
		c.Acked = append(c.Acked, e.Offset)
	}
	c.Append = append(c.Append, e.derived.batches...)
}

// Dead says that the event is given up.
func (e *Event) Dead(f transport.Failure) {
	e.Drop()
	if f.First = e.first; f.First.IsZero() {
		f.First = f.Last
	}
	env := e.Envelope
	e.lease.settle(e, func(c *transport.Commit) {
		c.Dead = append(c.Dead, transport.DeadEvent{Offset: e.Offset, Letter: e.Letter, Failure: f, Envelope: env})
	}, true)
}

// Deferral is why an event waits.
type Deferral struct {
	Due     time.Time
	Attempt int    // the number of the attempt that it waits for
	Key     string // of the event
	Behind  bool   // it waits behind another of its key
	Err     string // of the last attempt; empty: it returned none
	Failed  bool   // that attempt failed
}

// Defer says that the event waits for another attempt. The lane keeps it.
func (e *Event) Defer(d Deferral) {
	e.Drop()
	if d.Err != "" {
		e.lastErr = d.Err
	}
	if d.Failed && e.first.IsZero() {
		e.first = time.Now()
	}
	e.attempt, e.counted, e.logged = d.Attempt, true, true
	e.Due, e.Behind = d.Due, d.Behind // for whoever has it next
	e.lease.deferEvent(e, transport.Deferral{
		Offset: e.Offset, Letter: e.Letter, Due: d.Due, Attempt: d.Attempt, Key: d.Key, Behind: d.Behind, Err: e.lastErr, First: e.first,
	})
}

// Trimmed says that the log no longer has the event: Begin returned ErrTrimmed.
func (e *Event) Trimmed() { e.lease.trimmed(e) }

// Abandon is Return for an event whose handler ran, and may have done its work. A start that was counted
// has had an end: it does not count among those that had none.
func (e *Event) Abandon() {
	e.suspect = true
	if e.counted && !e.Fenced() {
		e.Defer(Deferral{Due: time.Now(), Attempt: e.attempt, Key: e.Envelope.Key})
	}
	e.Return()
}

// Return gives the event back unstarted, or unfinished: under a lease that lives it goes to another
// member, and otherwise the log gives it to the next holder.
func (e *Event) Return() {
	e.Drop()
	e.back = true
	e.lease.giveBack(e)
}
