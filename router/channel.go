package router

import "strings"

// ParseChannel is the inverse of [Placement.Channel]: it returns the topic and the partition that a
// channel belongs to. A channel without braces is a topic that is not partitioned, partition 0. ok
// is false for what no valid placement spells: a bad name, a tag that is not the [Tag] of its slot,
// a partition with a leading zero or out of range. It does not know the number of partitions, nor
// the group, so it cannot tell whether the topic's placement is the one that puts this partition
// there. It does not allocate.
func ParseChannel(channel string) (topic string, partition int, ok bool) {
	if !strings.HasPrefix(channel, "{") {
		if !validName(channel) {
			return "", 0, false
		}
		return channel, 0, true
	}
	tag, rest, found := strings.Cut(channel[1:], "}:")
	if !found || tag == "" || tag != Tag(Slot(tag)) {
		return "", 0, false
	}
	at := strings.LastIndex(rest, ":p")
	if at < 0 || !validName(rest[:at]) {
		return "", 0, false
	}
	partition, ok = parsePartition(rest[at+len(":p"):])
	if !ok {
		return "", 0, false
	}
	return rest[:at], partition, true
}

// maxPartitionDigits is the length of MaxPartitions-1 in decimal.
const maxPartitionDigits = 4

// parsePartition reads 0 to MaxPartitions-1 in its one spelling. strconv.Atoi would take "+1" and
// "01" too.
func parsePartition(s string) (int, bool) {
	if s == "" || len(s) > maxPartitionDigits || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, n < MaxPartitions
}
