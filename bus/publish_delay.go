package bus

import "time"

// At has an event of a durable topic wait in the log until t. Publish returns when the log has it. It
// gets its offset when it is due, and is handled after everything that has one by then; among events
// that are due, the order is that of their times. A time that has passed, and the zero time, is now.
// Times are those of the wall clock of whoever keeps the log.
//
// Until then Receipt.Offset is 0, and an event that has an [ID] can be canceled, see [Topic.Cancel]. A
// topic that is not durable refuses it with ErrNotDurable. With PublishBatch it is the time of every
// event; with PublishMessages an event may have its own.
func At(t time.Time) PublishOption { return PublishOption{kind: optionAt, at: t} }

// After is [At] the time that it is d after the call of Publish. A d that is not positive is now.
func After(d time.Duration) PublishOption { return PublishOption{kind: optionAfter, after: d} }

func dueAfter(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
