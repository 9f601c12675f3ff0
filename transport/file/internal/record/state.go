package record

import (
	"encoding/binary"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/ackset"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

// Topic is a topic as the file has it.
type Topic struct {
	Number      uint32
	Incarnation string
	Config      transport.LogTopic
}

// AppendTopic is the value of a topic. The key has its name.
func AppendTopic(t Topic) []byte {
	v := begin(128)
	v = binary.AppendUvarint(v, uint64(t.Number))
	v = appendBytes(v, t.Incarnation)
	v = appendInt(v, t.Config.Partitions)
	v = appendBytes(v, t.Config.Colocate)
	v = appendBytes(v, t.Config.Codec)
	v = binary.AppendUvarint(v, uint64(t.Config.Retain.Age)) //nolint:gosec // not negative
	v = binary.AppendUvarint(v, t.Config.Retain.Events)
	v = binary.AppendUvarint(v, t.Config.Retain.Bytes)
	v = binary.AppendUvarint(v, uint64(t.Config.DedupIDs)) //nolint:gosec // not negative
	v = appendInt(v, t.Config.Replicas)
	return seal(v)
}

// ReadTopic reads it.
func ReadTopic(value []byte, name string) (t Topic, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return t, false
	}
	number := r.uvarint()
	t.Incarnation = r.text()
	t.Config.Name = name
	t.Config.Partitions = r.int()
	t.Config.Colocate, t.Config.Codec = r.text(), r.text()
	t.Config.Retain = transport.Retain{Age: time.Duration(r.uvarint()), Events: r.uvarint(), Bytes: r.uvarint()} //nolint:gosec // as it was written
	t.Config.DedupIDs = time.Duration(r.uvarint())                                                               //nolint:gosec // likewise
	t.Config.Replicas = r.int()
	t.Number = uint32(number) //nolint:gosec // checked
	return t, r.done() && number <= 1<<32-1 && t.Config.Validate() == nil
}

// Partition is what a file has of a partition, beside its events.
type Partition struct {
	First, Next uint64
	Bytes       uint64
}

// AppendPartition is its value.
func AppendPartition(p Partition) []byte {
	v := begin(24)
	v = binary.AppendUvarint(v, p.First)
	v = binary.AppendUvarint(v, p.Next)
	v = binary.AppendUvarint(v, p.Bytes)
	return seal(v)
}

// ReadPartition reads it.
func ReadPartition(value []byte) (p Partition, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return p, false
	}
	p = Partition{First: r.uvarint(), Next: r.uvarint(), Bytes: r.uvarint()}
	return p, r.done() && p.First >= 1 && p.Next >= p.First
}

// AppendPublisher is the value of a publisher.
func AppendPublisher(s pubseq.State) []byte { return seal(s.Append(begin(32))) }

// ReadPublisher reads it.
func ReadPublisher(value []byte) (s pubseq.State, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return s, false
	}
	return pubseq.Read(r.src)
}

// Consumer is a consumer as the file has it.
type Consumer struct {
	Number     uint32
	LastLetter uint64 // the highest ID of a letter
}

// AppendConsumer is its value. The key has its name.
func AppendConsumer(c Consumer) []byte {
	v := begin(16)
	v = binary.AppendUvarint(v, uint64(c.Number))
	v = binary.AppendUvarint(v, c.LastLetter)
	return seal(v)
}

// ReadConsumer reads it.
func ReadConsumer(value []byte) (c Consumer, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return c, false
	}
	number := r.uvarint()
	c = Consumer{Number: uint32(number), LastLetter: r.uvarint()} //nolint:gosec // checked
	return c, r.done() && number <= 1<<32-1
}

// Part is where a consumer stands in a partition.
type Part struct {
	Fence uint64
	// Held: a lease with that fence was assigned, and has not ended.
	Held bool
	// SuspectTo: what is not settled below it may have been started; 0: nothing.
	SuspectTo uint64
	// Deferred, Letters, Replays and Started are how many there are in their buckets.
	Deferred, Letters, Replays, Started uint64
	// Gap is what was trimmed, and the sink was not told for sure.
	Gap Gap
	// Acks is not changed: who settles makes a copy.
	Acks *ackset.Set
}

// Gap is a run of offsets of which Count are missing.
type Gap struct{ From, To, Count uint64 }

// Add joins another run to it.
func (g Gap) Add(from, to, count uint64) Gap {
	switch {
	case count == 0:
		return g
	case g.Count == 0:
		return Gap{from, to, count}
	}
	return Gap{min(g.From, from), max(g.To, to), g.Count + count}
}

// AppendPart is its value.
func AppendPart(p Part) []byte {
	v := begin(200)
	v = binary.AppendUvarint(v, p.Fence)
	v = appendFlag(v, p.Held)
	for _, n := range [...]uint64{p.SuspectTo, p.Deferred, p.Letters, p.Replays, p.Started, p.Gap.From, p.Gap.To, p.Gap.Count} {
		v = binary.AppendUvarint(v, n)
	}
	return seal(p.Acks.Append(v))
}

// ReadPart reads it.
func ReadPart(value []byte) (p Part, ok bool) {
	r, ok := unseal(value)
	if !ok {
		return p, false
	}
	p.Fence = r.uvarint()
	p.Held = r.flag()
	for _, n := range [...]*uint64{&p.SuspectTo, &p.Deferred, &p.Letters, &p.Replays, &p.Started, &p.Gap.From, &p.Gap.To, &p.Gap.Count} {
		*n = r.uvarint()
	}
	if !r.ok {
		return Part{}, false
	}
	p.Acks, ok = ackset.Read(r.src, transport.MaxWindow)
	return p, ok
}
