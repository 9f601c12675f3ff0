//go:build amd64 && !race

package mailbox

import (
	"sync/atomic"
	"unsafe"
)

// storeRelease stores v so that whoever loads it sees all that was done before.
//
// Store would also wait until everybody can see it (an XCHG), which a caller about
// to unlock a mutex does anyway, and Go has no weaker one. On amd64 a plain store of
// an aligned word is a release; the compiler may not move it past calls of
// functions that it can't see into, and no caller relies on more. The race detector
// gets the real thing.
func storeRelease(a *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(a)) = v }
