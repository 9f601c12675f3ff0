package bus

import (
	"time"
)

// Letter is a dead letter: an event that was given up, and why.
type Letter struct {
	// Delivery is a copy of what the handler was given, safe to keep. [Value] and
	// [Delivery.Payload] give the event.
	Delivery *Delivery
	// Err is the cause: the verdict's error, or the error of the last attempt. It may be nil if a
	// handler gave none.
	Err error
	// Stack is the stack of the last attempt's panic; nil if it did not panic.
	Stack []byte
	// Attempts is how many attempts there were.
	Attempts int
	// Time is when it was given up.
	Time time.Time
}

// keptDeadLetters is how many dead letters a subscription keeps in memory.
const keptDeadLetters = 1000

// deadLetters keeps the last of them; the subscription's lock covers it.
type deadLetters struct {
	kept []Letter // oldest first
	told uint64   // how many the log knows of
	all  uint64   // how many there ever were
}
