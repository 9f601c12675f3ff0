//go:build !amd64 || race

package mailbox

import "sync/atomic"

// storeRelease stores v so that whoever loads it sees all that was done before.
func storeRelease(a *atomic.Uint64, v uint64) { a.Store(v) }
