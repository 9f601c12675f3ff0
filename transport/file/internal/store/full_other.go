//go:build !unix

package store

import (
	"errors"
	"strings"

	bbolterrors "go.etcd.io/bbolt/errors"
)

// isFull reports whether an error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, bbolterrors.ErrMaxSizeReached) || strings.Contains(err.Error(), "not enough space on the disk")
}
