package transport

import "time"

// Letter is a dead letter as the log keeps it, for one consumer.
type Letter struct {
	// ID is the consumer's number for it, ascending. A letter that is given up again keeps it.
	ID uint64
	// Partition and Offset are where the event was.
	Partition int
	Offset    uint64
	// At is when the log gave the event its offset.
	At time.Time
	// Envelope is the original event; the caller's own.
	Envelope *Envelope
	Failure  Failure
	// Replaying: it is marked for replay, and not settled since.
	Replaying bool
}

// LetterQuery asks for a page of letters.
type LetterQuery struct {
	Topic, Consumer string
	// After is the ID of the last letter of the page before; 0 for the first page.
	After uint64
	// Limit is how many are wanted: 1 to MaxLetters. 0 is MaxLetters.
	Limit int
}

// MaxLetters and MaxLetterBytes bound a page of letters. A page has at least one if there is any.
const (
	MaxLetters     = 1000
	MaxLetterBytes = 4 << 20
)

// LetterPage is a page of letters, by ID.
type LetterPage struct {
	Letters []Letter
	// More: there are more behind the last.
	More bool
}

// LetterAction is what SettleLetters does.
type LetterAction uint8

const (
	// ReplayLetters marks letters, so that they come through Fetch beside new events, under their old
	// offsets and IDs, for this consumer only, also when the originals were trimmed.
	ReplayLetters LetterAction = iota + 1
	// PurgeLetters removes letters. The replay of one that is under way changes nothing then.
	PurgeLetters
)
