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
	switch requirement(err, os.Getenv("CI") == "true") {
	case skipTest:
		t.Skipf("SKIPPED, NOT TESTED AGAINST REDIS: %v", err)
	case failTest:
		t.Fatalf("this test needs a real redis-server: %v", err)
	case runTest:
	}
}

// What becomes of a test that needs a server.
const (
	runTest = iota
	skipTest
	failTest
)

// requirement decides what becomes of a test, given the outcome of [probe].
func requirement(err error, ci bool) int {
	switch {
	case err == nil:
		return runTest
	case errors.Is(err, ErrNotInstalled) && !ci:
		return skipTest
	default:
		return failTest
	}
}
