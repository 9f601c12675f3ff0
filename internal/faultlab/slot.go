package faultlab

import (
	"strconv"
	"strings"

	"github.com/shardbus/shardbus/internal/redistest"
)

// SlotOf is CLUSTER KEYSLOT: CRC16/XMODEM of the hash tag, if there is one, else of all.
func SlotOf(name string) int {
	if _, after, ok := strings.Cut(name, "{"); ok {
		if tag, _, ok := strings.Cut(after, "}"); ok && tag != "" {
			name = tag
		}
	}
	var crc uint16
	for _, c := range []byte(name) {
		crc ^= uint16(c) << 8
		for range 8 {
			high := crc & 0x8000
			crc <<= 1
			if high != 0 {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % redistest.SlotCount
}

// SameSlot returns a name that begins with prefix and has the slot of topic, without a hash tag.
func SameSlot(prefix, topic string) string {
	want := SlotOf(topic)
	for i := 0; ; i++ {
		if name := prefix + topic + "." + strconv.Itoa(i); SlotOf(name) == want {
			return name
		}
	}
}
