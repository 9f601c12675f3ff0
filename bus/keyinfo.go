package bus

import (
	"hash/maphash"
	"sync"
	"unsafe"
)

// keySeed makes the key → lane choice differ between processes: nobody should
// come to rely on it.
var keySeed = maphash.MakeSeed()

// keyHash is what a lane is chosen by; 0 stands for no key.
func keyHash(key string) uint64 {
	if key == "" {
		return 0
	}
	return maphash.String(keySeed, key) | 1
}

// keyInfo is what an event's mailboxes are chosen by.
type keyInfo struct {
	hash  uint64 // keyHash of key
	key   string
	known bool // hash is; else no subscription needed it when it was looked for
	named bool // key is; else no mailbox needed it then
}

// keyBuffers are where keys are appended to that nobody needs as strings.
var keyBuffers = sync.Pool{New: func() any { return new(keyBuffer) }}

// keyBuffer is memory that keys are appended to, one after another. What user code returns may be
// memory of its own, in place of what it was given: that is read, and never kept.
type keyBuffer struct{ room []byte }

// Bounds of the room for a key, and of that for an encoded event with its key.
const (
	minKeyRoom = 64
	maxKeyRoom = 1024
)

// fit makes room for keys as long as key, which was appended to the room, or takes its place.
func (b *keyBuffer) fit(key []byte) {
	if n := len(key); n > cap(b.room) && n <= maxKeyRoom {
		b.room = make([]byte, 0, min(max(minKeyRoom, 2*n), maxKeyRoom))
	}
}

// ownKey returns key in memory of ours: in room, to which it was to be appended, unless that is where
// it is.
func ownKey(room, key []byte) []byte {
	if cap(room) > 0 && unsafe.SliceData(room) == unsafe.SliceData(key) {
		return key
	}
	return append(room[:0], key...)
}

// appendedKey is the key information of v where add appends its key, with the key itself if it is asked
// for.
func appendedKey[T any](add func(dst []byte, v T) []byte, v *T, named bool) (id keyInfo) {
	buf := keyBuffers.Get().(*keyBuffer)
	key := add(buf.room[:0], *v) // if it panics, the buffer is left to the collector
	id.known, id.named = true, named
	if len(key) > 0 {
		id.hash = maphash.Bytes(keySeed, key) | 1 // as keyHash
	}
	if named {
		id.key = string(key)
	}
	buf.fit(key)
	keyBuffers.Put(buf)
	return id
}
