package router

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCRC16Vectors(t *testing.T) {
	// The first is the check value of CRC-16/XMODEM, the one the Redis Cluster specification
	// prints; the others were computed with another implementation (binascii.crc_hqx).
	for s, want := range map[string]uint16{
		"123456789":        0x31C3,
		"":                 0x0000,
		"a":                0x7C87,
		"A":                0x58E5,
		"foo":              0xAF96,
		"bar":              0x93C5,
		"user1000":         0x4D73,
		"flights.departed": 0xAFAE,
		"orders":           0x0069,
	} {
		if got := CRC16(s); got != want {
			t.Errorf("CRC16(%q) = %#04x, want %#04x", s, got, want)
		}
	}
}

// crc16Bitwise is the textbook long division, one bit at a time.
func crc16Bitwise(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func TestCRC16EqualsLongDivision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyKey().Draw(t, "s")
		if got, want := CRC16(s), crc16Bitwise(s); got != want {
			t.Fatalf("CRC16(%q) = %#04x, want %#04x", s, got, want)
		}
	})
}

// anyKey draws any bytes.
func anyKey() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
}
