package transport

import (
	"fmt"
	"time"
)

// Batch is what Append adds to one partition.
type Batch struct {
	// Topic was opened before. Partition is one of its partitions, from 0.
	Topic     string
	Partition int
	// Publisher says who appends it, and makes a repetition harmless.
	Publisher PublisherState
	// Envelopes are the events, at least one. Their Topic, Partition and Seq are the log's to set.
	Envelopes []*Envelope
	// Due[i] is when Envelopes[i] is to be added. If that is in the future, the log takes the event
	// now, durably, and gives it an offset when it is due; among those that are due, the order is
	// that of their times, then that in which they were taken. Zero times, and a nil slice: at once.
	Due []time.Time
	// UserID[i] says that the ID of Envelopes[i] was given by a user. If the partition has seen
	// that ID within DedupIDs, the event is not added. The ID of an event with a Due is remembered
	// until DedupIDs after that time. A nil slice: none was given by a user.
	UserID []bool
}

// Validate returns an error that wraps [ErrInvalidBatch], if the batch is invalid.
func (b *Batch) Validate() error {
	n := len(b.Envelopes)
	switch {
	case n == 0:
		return fmt.Errorf("%w: it has no events", ErrInvalidBatch)
	case b.Due != nil && len(b.Due) != n:
		return fmt.Errorf("%w: it has %d events, and Due of %d", ErrInvalidBatch, n, len(b.Due))
	case b.UserID != nil && len(b.UserID) != n:
		return fmt.Errorf("%w: it has %d events, and UserID of %d", ErrInvalidBatch, n, len(b.UserID))
	}
	return nil
}

// PublisherState is who appends a batch, and the number of its first event. The numbers of a
// publisher count its events on one topic and partition, in the order in which they are taken: from
// 1 in each epoch, without holes. One batch is in flight at a time.
//
// A batch that begins with the number after the last is taken. One that ends at or before the last
// is a repetition, and adds nothing. Any other fails with ErrOutOfSequence. A higher epoch begins
// at 1, and batches of lower ones then fail with ErrStalePublisher.
//
// A publisher that the partition does not know begins at 1 in any epoch. A log forgets a publisher
// that has appended nothing for PublisherIdle. So a publisher raises its epoch before it appends
// after half of that.
//
// The zero value leaves a batch without numbers, so that nobody recognises a repetition.
type PublisherState struct {
	// ID is the incarnation of the bus; empty: no numbers.
	ID    string
	Epoch uint32
	Seq   uint64
}

// PublisherIdle is how long a log remembers a publisher that appends nothing, at least.
const PublisherIdle = time.Hour

// AppendResult is what became of a batch.
type AppendResult struct {
	// First is the offset of the first event that was added at once; 0 if none was.
	First uint64
	// Waiting are the indexes of the events that were taken and wait until they are due. They have
	// no offset yet.
	Waiting []int
	// Duplicate are those that were not added, as their IDs were seen before; by index.
	Duplicate []Duplicate
	// Repeated means that the log had the batch already. The rest is as it was the first time if
	// this is the publisher's last batch; otherwise the log has forgotten it, and it is zero.
	Repeated bool
	// Err is nil if the batch was taken.
	Err error
}

// Duplicate is an event whose ID was seen before.
type Duplicate struct {
	// Index is that of the event in its batch.
	Index int
	// Offset is that of the first event with the ID; 0 if it waits to be due.
	Offset uint64
}

// Offset is the offset of the batch's event of index i; 0 if it has none or it is not known.
func (r AppendResult) Offset(i int) uint64 {
	before := 0 // how many of those before it were not added at once
	for _, d := range r.Duplicate {
		switch {
		case d.Index == i:
			return d.Offset
		case d.Index < i:
			before++
		}
	}
	for _, w := range r.Waiting {
		switch {
		case w == i:
			return 0
		case w < i:
			before++
		}
	}
	if r.First == 0 {
		return 0
	}
	return r.First + uint64(i-before) //nolint:gosec // as many events are before it, at most
}
