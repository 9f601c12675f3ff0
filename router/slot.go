package router

import "strings"

// Slots is the number of hash slots of a Redis Cluster; a slot is 0 to Slots-1.
const Slots = 16384

// Slot returns the hash slot of a Redis key or shard channel: CRC16 mod 16384 of its hash tag, else
// of all of it. The hash tag is what stands between the first '{' and the first '}' after it,
// provided that is not empty; so "foo{}{bar}" has none, that of "foo{{bar}}zap" is "{bar", and that
// of "foo{bar}{zap}" is "bar". It does not allocate.
//
// Source: Redis Cluster specification, "Hash tags". It agrees with CLUSTER KEYSLOT.
func Slot(name string) int {
	return int(CRC16(hashTag(name)) % Slots)
}

// hashTag returns the part of name that Redis Cluster hashes.
func hashTag(name string) string {
	open := strings.IndexByte(name, '{')
	if open < 0 {
		return name
	}
	rest := name[open+1:]
	if end := strings.IndexByte(rest, '}'); end > 0 {
		return rest[:end]
	}
	return name
}
