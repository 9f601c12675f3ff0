package transport

import "time"

// Entry is an event as the log keeps it.
type Entry struct {
	// Offset is its place in its partition.
	Offset uint64
	// Letter is not 0 if it is a dead letter that is to be tried again.
	Letter uint64
	// At is when the log gave it its offset, by the log's clock, which never goes back.
	At time.Time
	// Envelope is the caller's own, with all that it points to. One that can't be read is
	// [Envelope.Malformed].
	Envelope *Envelope
}

// Fetched is what a Fetch has read.
type Fetched struct {
	// Entries are the events, ascending by offset. None comes twice.
	Entries []Entry
	// Replays are dead letters of the lease's offsets that are marked for replay, oldest first,
	// within the same limits. Each comes once under a lease; under the next it comes again, unless
	// it was settled or deferred.
	Replays []Entry
	// Next is the offset at which the next Fetch goes on: after is one less.
	Next uint64
	// Trimmed is how many offsets behind after were trimmed, settled ones included. Reading went on
	// at the oldest event that is kept. The sink is told by Gap, once, of those that were not
	// settled.
	Trimmed uint64
}

// EventRef names an event of a lease.
type EventRef struct {
	Offset uint64
	// Letter is not 0 for a dead letter that is tried again.
	Letter uint64
}
