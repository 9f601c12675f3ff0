package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Keys sort as their numbers do: all are written with the highest byte first.

// TopicKey begins the keys of all that a topic has.
func TopicKey(topic uint32) []byte { return binary.BigEndian.AppendUint32(nil, topic) }

// PartitionKey is the key of a partition, and begins those of its publishers.
func PartitionKey(topic uint32, partition int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(make([]byte, 0, 14), topic), uint16(partition)) //nolint:gosec // at most MaxPartitions
}

// EventKey is the key of an event.
func EventKey(topic uint32, partition int, offset uint64) []byte {
	return binary.BigEndian.AppendUint64(PartitionKey(topic, partition), offset)
}

// EventOffset is the offset in an EventKey that begins with a PartitionKey.
func EventOffset(key, partition []byte) (offset uint64, ok bool) {
	if len(key) != len(partition)+8 || !bytes.HasPrefix(key, partition) {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(partition):]), true
}

// PublisherName is what the key of a publisher has behind that of its partition.
func PublisherName(id string) string { return string(idKey(id)) }

// PublisherKey is the key of a publisher of a partition, by its PublisherName.
func PublisherKey(topic uint32, partition int, name string) []byte {
	return append(PartitionKey(topic, partition), name...)
}

// UserIDKey is the key of an ID that a user gave.
func UserIDKey(topic uint32, partition int, id string) []byte {
	return append(PartitionKey(topic, partition), idKey(id)...)
}

// idKey is a key of any text: short text as it is, long text by its hash.
func idKey(id string) []byte {
	if len(id) <= 128 {
		return append([]byte{0}, id...)
	}
	sum := sha256.Sum256([]byte(id))
	return append([]byte{1}, sum[:]...)
}

// ConsumerKey is the key of a consumer.
func ConsumerKey(topic uint32, name string) []byte {
	return append(append(TopicKey(topic), 0), name...)
}

// PartKey is the key of a consumer's part, and begins those of its deferrals and replays.
func PartKey(topic, consumer uint32, partition int) []byte {
	k := append(TopicKey(topic), 1)
	k = binary.BigEndian.AppendUint32(k, consumer)
	return binary.BigEndian.AppendUint16(k, uint16(partition)) //nolint:gosec // at most MaxPartitions
}

// ConsumerPrefix begins all PartKeys and LetterKeys of a consumer.
func ConsumerPrefix(topic, consumer uint32) []byte {
	return binary.BigEndian.AppendUint32(append(TopicKey(topic), 1), consumer)
}

// RefKey is the key of an event of a part that has no outcome yet.
func RefKey(part []byte, ref transport.EventRef) []byte {
	k := append(make([]byte, 0, len(part)+16), part...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, ref.Offset), ref.Letter)
}

// Ref is what RefKey was made of.
func Ref(key, part []byte) (ref transport.EventRef, ok bool) {
	if len(key) != len(part)+16 || !bytes.HasPrefix(key, part) {
		return ref, false
	}
	rest := key[len(part):]
	return transport.EventRef{Offset: binary.BigEndian.Uint64(rest), Letter: binary.BigEndian.Uint64(rest[8:])}, true
}

// NumberKey is a prefix and a number, such as the ID of a letter.
func NumberKey(prefix []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(prefix)+8), prefix...), n)
}

// Number is the number of a NumberKey.
func Number(key, prefix []byte) (n uint64, ok bool) { return EventOffset(key, prefix) }

// DueKey is the key of an event that waits: when it is due, and its number in the order in which
// they were taken.
func DueKey(due time.Time, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), nanos(due)), number)
}

// Due is when that is.
func Due(key []byte) time.Time {
	if len(key) < 8 {
		return time.Time{}
	}
	return timeOf(binary.BigEndian.Uint64(key))
}

// ExpiryKey sorts the IDs that users gave by when they are forgotten. ExpiryUserID is the UserIDKey
// in it, and Due is when that is.
func ExpiryKey(until time.Time, userID []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(userID)), nanos(until)), userID...)
}

// ExpiryUserID is the UserIDKey of an ExpiryKey.
func ExpiryUserID(key []byte) []byte { return key[min(8, len(key)):] }
