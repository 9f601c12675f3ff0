package transport

import (
	"fmt"

	"github.com/shardbus/shardbus/internal/name"
)

// Bounds of a [Topic].
const (
	// MaxName is the length of the longest name, in bytes.
	MaxName = name.Max
	// MaxPartitions is the largest number of partitions.
	MaxPartitions = 4096
)

// Topic is what a transport needs to know of a topic.
type Topic struct {
	// Name is 1 to MaxName bytes of [A-Za-z0-9._:-].
	Name string
	// Partitions is how many it has, 1 to MaxPartitions, numbered from 0; 0 if it is not
	// partitioned.
	Partitions int

	// ContentType is the media type of its payloads, and TypeName the name of the type of its
	// events, as its bus knows them; empty when unknown. They are only for [Mismatch] and decide
	// nothing.
	ContentType string
	TypeName    string
}

// Validate returns an error that wraps [ErrInvalidTopic] and names the topic, if it is invalid.
// Buses pass valid topics only. A transport checks them all the same, so that a mistake shows where
// it was made.
func (t Topic) Validate() error {
	switch n := len(t.Name); {
	case n == 0:
		return fmt.Errorf("%w: the name is empty", ErrInvalidTopic)
	case n > MaxName:
		return fmt.Errorf("%w: the name %.20q… has %d bytes, at most %d are allowed", ErrInvalidTopic, t.Name, n, MaxName)
	}
	if i := name.Bad(t.Name); i >= 0 {
		return fmt.Errorf("%w: %q: byte %#02x at position %d is not one of A-Z a-z 0-9 . _ : -", ErrInvalidTopic, t.Name, t.Name[i], i)
	}
	if t.Partitions < 0 || t.Partitions > MaxPartitions {
		return fmt.Errorf("%w: %q: %d partitions, want 0 to %d", ErrInvalidTopic, t.Name, t.Partitions, MaxPartitions)
	}
	return nil
}

// Holds returns an error that wraps [ErrInvalidTopic] if partition is not one of the topic's. A
// topic that is not partitioned has partition 0.
func (t Topic) Holds(partition int) error {
	if n := max(1, t.Partitions); partition < 0 || partition >= n {
		return fmt.Errorf("%w: %q has no partition %d of %d", ErrInvalidTopic, t.Name, partition, n)
	}
	return nil
}
