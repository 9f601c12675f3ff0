package bus

import (
	"maps"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Start is a place in the log of a durable topic, for [From] and Topic.Seek. The zero value is Latest.
type Start struct{ at transport.Start }

// Latest is the end of the log: the next event that is published.
func Latest() Start { return Start{} }

// Earliest is the oldest event that the log keeps.
func Earliest() Start { return Start{transport.Start{From: transport.AtEarliest}} }

// FromTime is the first event that the log took at a time, or later.
func FromTime(t time.Time) Start { return Start{transport.Start{From: transport.AtTime, Time: t}} }

// FromOffset is an offset of a topic without partitions. Of another topic it is that of partition 0.
func FromOffset(offset uint64) Start { return FromOffsets(map[int]uint64{0: offset}) }

// FromOffsets is an offset for each partition. One that has none begins at Latest.
func FromOffsets(offsets map[int]uint64) Start {
	return Start{transport.Start{From: transport.AtOffset, Offsets: maps.Clone(offsets)}}
}

// From says where a subscription of a durable topic begins whose name, or group, the log does not know
// yet. One that it knows goes on where it was, and From does nothing. Default: Latest.
func From(start Start) Option {
	return option(func(o *subscribeOptions) { o.start, o.startGiven = start.at, true })
}
