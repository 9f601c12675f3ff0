// Package name is what a name is made of: the one rule for topics, subscriptions, groups and
// channels, whoever checks it.
package name

// Max is the length of the longest name, in bytes.
const Max = 200

// Bad is the position of the first byte that no name has, or -1. A name has bytes of
// [A-Za-z0-9._:-] only. Braces are what that must keep out, since they would move a channel to
// another slot.
func Bad(s string) int {
	for i := range len(s) {
		if !allowed(s[i]) {
			return i
		}
	}
	return -1
}

func allowed(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c == '.' || c == '_' || c == ':' || c == '-'
	}
}
