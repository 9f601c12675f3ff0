//go:build unix

package store

import (
	"errors"
	"strings"
	"syscall"

	bbolterrors "go.etcd.io/bbolt/errors"
)

// isFull reports whether an error says that there is no room. bbolt passes some on as text.
func isFull(err error) bool {
	if errors.Is(err, bbolterrors.ErrMaxSizeReached) {
		return true
	}
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
