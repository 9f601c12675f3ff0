package transport

import (
	"fmt"
	"strings"
	"time"
)

// LogTopic is what a log needs to know of a topic.
type LogTopic struct {
	// Name and Partitions are as in [Topic]. A topic that is not partitioned has partition 0.
	Name       string
	Partitions int
	// Colocate is the topic's co-location group; empty: none.
	Colocate string
	// Codec is the media type of its payloads; empty when unknown.
	Codec string
	// Retain bounds what is kept.
	Retain Retain
	// DedupIDs is how long an ID that a user gave is remembered, see [Batch.UserID]; 0: while its
	// event waits for its time.
	DedupIDs time.Duration
	// Replicas is how many replicas must have an event before Append returns, where
	// [LogCapabilities.Replicas] says that this is understood.
	Replicas int
}

// Retain bounds what a log keeps of each partition. Trimming takes the oldest events first, by
// whichever bound is passed, whether they were settled or not, soon after it is passed. It holds up
// an Append by 50 ms at most. A bound of 0 is none.
type Retain struct {
	// Age is how long an event is kept, by the log's clock.
	Age time.Duration
	// Events is how many are kept.
	Events uint64
	// Bytes is how many bytes are kept, as the log counts them: at least those of the payloads, and
	// at most [Envelope.Size] of each event.
	Bytes uint64
}

// Validate returns an error that wraps [ErrInvalidTopic], if the topic is invalid.
func (t LogTopic) Validate() error {
	if err := t.topic().Validate(); err != nil {
		return err
	}
	for what, negative := range map[string]bool{"Retain.Age": t.Retain.Age < 0, "DedupIDs": t.DedupIDs < 0, "Replicas": t.Replicas < 0} {
		if negative {
			return fmt.Errorf("%w: %q: %s is negative", ErrInvalidTopic, t.Name, what)
		}
	}
	return nil
}

func (t LogTopic) topic() Topic { return Topic{Name: t.Name, Partitions: t.Partitions} }

// Holds returns an error that wraps [ErrInvalidTopic] if partition is not one of the topic's.
func (t LogTopic) Holds(partition int) error { return t.topic().Holds(partition) }

// Matches returns an error that wraps [ErrTopicMismatch] if asked, a topic of the same name, can't
// be opened where t is.
func (t LogTopic) Matches(asked LogTopic) error {
	var what []string
	if t.Partitions != asked.Partitions {
		what = append(what, fmt.Sprintf("it has %s, not %s", partitions(t.Partitions), partitions(asked.Partitions)))
	}
	if t.Codec != asked.Codec {
		what = append(what, fmt.Sprintf("its payloads are %q, not %q", t.Codec, asked.Codec))
	}
	if t.Colocate != asked.Colocate {
		what = append(what, fmt.Sprintf("its co-location group is %q, not %q", t.Colocate, asked.Colocate))
	}
	if what == nil {
		return nil
	}
	return fmt.Errorf("%w: %q: %s", ErrTopicMismatch, t.Name, strings.Join(what, "; "))
}

// TopicState is what a log has of a topic.
type TopicState struct {
	// Incarnation changes only when the topic's offsets began anew.
	Incarnation string
	// Partitions are the topic's, one if it is not partitioned.
	Partitions []PartitionState
}

// PartitionState is what a log has of a partition. Its events are numbered 1, 2, 3 … without holes
// by their offsets. An offset of 0 is none.
type PartitionState struct {
	// First is the offset of the oldest event that is kept; Next if there is none.
	First uint64
	// Next is the offset that the next event gets.
	Next uint64
}
