package router

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxPartitions is the largest number of partitions of a topic. Each costs a channel and a
// sequence. Up to Slots the partitions would still lie on distinct slots; the cap is lower because
// it can be raised later, but never lowered.
const MaxPartitions = 4096

// ErrInvalidPlacement is wrapped by what [Placement.Validate] returns.
var ErrInvalidPlacement = errors.New("router: invalid placement")

// Placement says where the partitions of a topic lie. It is a plain value: comparable, safe to copy
// and to use concurrently.
//
// Its methods never panic, but they mean something only after [Placement.Validate] returned nil.
// They build strings: keep a channel that you need for each event.
type Placement struct {
	// Topic is the topic's name; see [ValidName].
	Topic string
	// Group is the co-location group; "" is the topic's own. Topics of one group and one number of
	// partitions have partition i on the same slot, so that one script can span them; the group
	// then lives on that many slots whatever the size of the cluster. It needs Partitions of 1 or
	// more.
	Group string
	// Partitions is 0 for a topic that is not partitioned: its channel is its name, which a foreign
	// client just uses. From 1 to MaxPartitions the router chooses the slots and names them by hash
	// tags. 1 is one partition on a chosen slot: what a group of unsplit topics needs. It has
	// another channel than 0.
	Partitions int
}

// NewPlacement returns the placement of a topic, or the error of [Placement.Validate].
func NewPlacement(topic, group string, partitions int) (Placement, error) {
	p := Placement{Topic: topic, Group: group, Partitions: partitions}
	if err := p.Validate(); err != nil {
		return Placement{}, err
	}
	return p, nil
}

// Validate reports whether the names are valid, the number of partitions is in range, and a group
// goes with partitions. The error wraps [ErrInvalidPlacement], and [ErrInvalidName] where a name is
// at fault.
func (p Placement) Validate() error {
	if err := ValidName(p.Topic); err != nil {
		return fmt.Errorf("%w: topic: %w", ErrInvalidPlacement, err)
	}
	if p.Partitions < 0 || p.Partitions > MaxPartitions {
		return fmt.Errorf("%w: topic %q: %d partitions, want 0 to %d",
			ErrInvalidPlacement, p.Topic, p.Partitions, MaxPartitions)
	}
	if p.Group == "" {
		return nil
	}
	if err := ValidName(p.Group); err != nil {
		return fmt.Errorf("%w: topic %q: group: %w", ErrInvalidPlacement, p.Topic, err)
	}
	if p.Partitions == 0 {
		return fmt.Errorf("%w: topic %q: group %q needs partitions, 1 or more",
			ErrInvalidPlacement, p.Topic, p.Group)
	}
	return nil
}

// Len returns the number of partitions, at least 1: a topic that is not partitioned has partition 0
// only.
func (p Placement) Len() int { return max(1, p.Partitions) }

// Partition returns the partition of a key; see the function [Partition].
func (p Placement) Partition(key string) int { return Partition(key, p.Partitions) }

// Slot returns the hash slot of partition i, or -1 if there is no such partition.
//
// Not partitioned: the slot of the topic's name. Partitioned into n:
//
//	(CRC16(group, or topic if there is none) + ⌊(2i+1)·16384/2n⌋) mod 16384
//
// The points are evenly spaced round the ring, turned by a hash so that not every topic's first
// partition lies on the same node. An arc of L slots holds ⌊L·n/16384⌋ or ⌈L·n/16384⌉ of them,
// wherever it begins: counting i with a ≤ ⌊αi+β⌋ < a+L for integers a and L is counting i in a real
// interval of length L/α. So on k shards of contiguous ranges as equal as 16384/k allows, each has
// less than 1 + n/16384 more or fewer than n/k; exactly ⌊n/k⌋ or ⌈n/k⌉ where k divides 16384.
// Nothing is promised for slots dealt out otherwise.
func (p Placement) Slot(i int) int {
	switch {
	case i < 0 || i >= p.Len():
		return -1
	case p.Partitions <= 0:
		return Slot(p.Topic)
	}
	base := p.Group
	if base == "" {
		base = p.Topic
	}
	return (int(CRC16(base)) + (2*i+1)*(Slots/2)/p.Partitions) % Slots
}

// Channel returns the Pub/Sub channel of partition i, or "" if there is no such partition: the
// topic's name as it is where the topic is not partitioned, else
//
//	{tag}:name:p<i>
//
// with the [Tag] of the partition's slot, and i in decimal without leading zeros.
//
// No two topics share a channel, nor do two partitions of one topic: names hold no brace, so only a
// partitioned channel begins with one; i is what follows the last ":p"; and the name is what lies
// between. [ParseChannel] is the inverse.
func (p Placement) Channel(i int) string {
	if i < 0 || i >= p.Len() {
		return ""
	}
	if p.Partitions <= 0 {
		return p.Topic
	}
	return "{" + Tag(p.Slot(i)) + "}:" + p.Topic + ":p" + strconv.Itoa(i)
}

// Stream returns the key of the stream of partition i, or "" if there is no such partition:
// "{name}:log" where the topic is not partitioned, else "{tag}:name:p<i>:log". It lies on the slot
// of the channel.
func (p Placement) Stream(i int) string { return p.Key(i, "log") }

// Meta returns the key of the hash beside the stream of partition i, or "" if there is no such
// partition: "{name}:meta" where the topic is not partitioned, else "{tag}:name:p<i>:meta".
func (p Placement) Meta(i int) string { return p.Key(i, "meta") }

// Key returns a key on the slot of partition i, or "" if there is no such partition:
// "{name}:suffix" where the topic is not partitioned, else the channel, a colon and the suffix.
//
// In the suffix ':' is written %3A and '%' is written %25. So no two (topic, partition, suffix)
// share a key: what follows the last colon is the suffix; before it stands either nothing but a tag
// in braces, which is the topic's name, or a partitioned channel. Without that, a suffix holding a
// user's text (a group named "p0:log") could spell another topic's stream.
func (p Placement) Key(i int, suffix string) string {
	channel := p.Channel(i)
	if channel == "" {
		return ""
	}
	if p.Partitions <= 0 {
		channel = "{" + channel + "}"
	}
	return channel + ":" + suffixEscaper.Replace(suffix)
}

var suffixEscaper = strings.NewReplacer(":", "%3A", "%", "%25")
