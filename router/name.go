package router

import (
	"errors"
	"fmt"

	"github.com/shardbus/shardbus/internal/name"
)

// MaxName is the length of the longest name, in bytes.
const MaxName = name.Max

// ErrInvalidName is wrapped by what [ValidName] returns.
var ErrInvalidName = errors.New("invalid name")

// ValidName reports whether s may name a topic or a co-location group: 1 to [MaxName] bytes of
// [A-Za-z0-9._:-]. Braces are what it must keep out, since they would move a channel to another
// slot. The error wraps [ErrInvalidName] and says which byte at which position, counted from 0, is
// wrong, or what the length is. A valid name does not allocate.
func ValidName(s string) error {
	if s == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	}
	if len(s) > MaxName {
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrInvalidName, len(s), MaxName)
	}
	if i := name.Bad(s); i >= 0 {
		return fmt.Errorf("%w: %q: byte %#02x at position %d is not one of A-Z a-z 0-9 . _ : -",
			ErrInvalidName, s, s[i], i)
	}
	return nil
}

// validName is ValidName where nobody reads the error, and none should be built.
func validName(s string) bool { return s != "" && len(s) <= MaxName && name.Bad(s) < 0 }
