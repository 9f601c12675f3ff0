package bus

import "hash/maphash"

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
	known bool // else no subscription needed it when it was looked for
}
