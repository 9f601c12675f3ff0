package redistest

import (
	"errors"
	"os"
	"testing"
)

// Require lets the test go on when the default redis-server can be used. When
// none is installed it skips the test, or fails it where CI=true; a server
// that is too old or does not run fails it everywhere.
func Require(t testing.TB) {
	t.Helper()
	requireBinary(t, "")
}

// requireBinary is [Require] for the given binary.
func requireBinary(t testing.TB, binary string) {
	t.Helper()
	_, _, err := probe(binary)
	switch verdict(err, os.Getenv("CI") == "true") {
	case verdictSkip:
		t.Skipf("SKIPPED, NOT TESTED AGAINST REDIS: %v", err)
	case verdictFail:
		t.Fatalf("this test needs a real redis-server: %v", err)
	case verdictRun:
	}
}

// What becomes of a test that needs a server.
const (
	verdictRun = iota
	verdictSkip
	verdictFail
)

// verdict decides what becomes of a test, given the outcome of [probe].
func verdict(err error, ci bool) int {
	switch {
	case err == nil:
		return verdictRun
	case errors.Is(err, ErrNotInstalled) && !ci:
		return verdictSkip
	default:
		return verdictFail
	}
}
