package router

import "sync"

const (
	tagAlphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	maxTag      = 4 // characters; enough for every slot, as a test shows
)

// Tag returns the hash tag, without braces, that stands for a slot: of the strings of 1 to 4
// characters of [0-9a-z] whose CRC16 mod 16384 is the slot, the shortest, and of those the first in
// byte order. Every slot from 0 to Slots-1 has one; for any other number Tag returns "", which is
// no hash tag.
//
// The rule is frozen: tags are part of the names of channels and keys. Tag may be called
// concurrently. The first call computes the table (about a millisecond); later ones do not
// allocate.
func Tag(slot int) string {
	if slot < 0 || slot >= Slots {
		return ""
	}
	t := tags()
	at := slot * maxTag
	return t.text[at : at+int(t.size[slot])]
}

// tagTable keeps all tags in one string, each in a cell of maxTag bytes, so that Tag slices and
// never allocates.
type tagTable struct {
	text string
	size [Slots]uint8
}

var tags = sync.OnceValue(func() *tagTable {
	t := new(tagTable)
	text := make([]byte, Slots*maxTag)
	missing := Slots

	var word [maxTag]byte
	// extend tries, in byte order, every word of the wanted size that begins with word[:n], whose
	// CRC is crc.
	var extend func(n, size int, crc uint16)
	extend = func(n, size int, crc uint16) {
		if n == size {
			if slot := int(crc % Slots); t.size[slot] == 0 {
				t.size[slot] = uint8(size)
				copy(text[slot*maxTag:], word[:size])
				missing--
			}
			return
		}
		for i := 0; i < len(tagAlphabet) && missing > 0; i++ {
			word[n] = tagAlphabet[i]
			extend(n+1, size, crc16Next(crc, word[n]))
		}
	}
	for size := 1; size <= maxTag; size++ {
		extend(0, size, 0)
	}
	t.text = string(text)
	return t
})
