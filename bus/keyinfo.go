package bus

import (
	"hash/maphash"
	"sync"
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
var keyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// appendedKey is the key information of v where add appends its key, with the key itself if it is asked
// for.
func appendedKey[T any](add func(dst []byte, v T) []byte, v *T, named bool) (id keyInfo) {
	buf := keyBuffers.Get().(*[]byte)
	*buf = add((*buf)[:0], *v) // if it panics, the buffer is left to the collector
	id.known, id.named = true, named
	if len(*buf) > 0 {
		id.hash = maphash.Bytes(keySeed, *buf) | 1 // as keyHash
	}
	if named {
		id.key = string(*buf)
	}
	keyBuffers.Put(buf)
	return id
}
