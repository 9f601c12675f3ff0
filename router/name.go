package router

import (
	"errors"
	"fmt"
)

// MaxName is the length of the longest name, in bytes.
const MaxName = 200

// ErrInvalidName is wrapped by what [ValidName] returns.
var ErrInvalidName = errors.New("invalid name")

// ValidName reports whether name may name a topic or a co-location group: 1 to [MaxName] bytes of [A-Za-z0-9._:-].
// Braces are what it must keep out, since they would move a channel to another slot. The error wraps
// [ErrInvalidName] and says which byte at which position, counted from 0, is wrong, or what the length is. A valid
// name does not allocate.
func ValidName(name string) error {
	if len(name) == 0 {
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrInvalidName, len(name), MaxName)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("%w: %q: byte %#02x at position %d is not one of A-Z a-z 0-9 . _ : -",
				ErrInvalidName, name, name[i], i)
		}
	}
	return nil
}

// validName is ValidName where nobody reads the error, and none should be built.
func validName(name string) bool {
	if len(name) == 0 || len(name) > MaxName {
		return false
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return false
		}
	}
	return true
}

func nameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c == '.' || c == '_' || c == ':' || c == '-'
	}
}
