package redistest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]string{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0": "7.0.15",
		"Valkey server v=8.1.1 sha=00000000:0 malloc=libc bits=64 build=0":                         "8.1.1",
		"Server v=10.20.30": "10.20.30",
		"nonsense":          "",
	} {
		v, err := parseVersion(out)
		if (err == nil) != (want != "") || err == nil && v.String() != want {
			t.Errorf("%q: %v, %v", out, v, err)
		}
	}
}

func TestVersionAtLeast(t *testing.T) {
	t.Parallel()
	v := Version{7, 2, 4}
	for _, c := range []struct {
		major, minor, patch int
		want                bool
	}{{7, 2, 4, true}, {7, 2, 5, false}, {7, 3, 0, false}, {8, 0, 0, false}, {6, 9, 9, true}, {7, 0, 15, true}} {
		if got := v.AtLeast(c.major, c.minor, c.patch); got != c.want {
			t.Errorf("%v at least %d.%d.%d: %t", v, c.major, c.minor, c.patch, got)
		}
	}
}

// A missing server skips, and fails in CI; one that is too old fails always.
func TestVerdict(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "redis-server")
	ok(t, os.WriteFile(old, []byte("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n"), 0o700)) // #nosec G306 -- a script
	broken := filepath.Join(t.TempDir(), "redis-server")
	ok(t, os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o700)) // #nosec G306 -- a script
	for _, c := range []struct {
		binary string
		is     error
		ci     bool
		want   int
	}{
		{"no-such-redis-server", ErrNotInstalled, false, skipTest},
		{"no-such-redis-server", ErrNotInstalled, true, failTest},
		{old, ErrTooOld, false, failTest},
		{old, ErrTooOld, true, failTest},
		{broken, nil, false, failTest},
	} {
		_, _, err := probe(c.binary)
		if err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.binary, err)
		}
		if got := requirement(err, c.ci); got != c.want {
			t.Errorf("%s, CI %t: got %d", c.binary, c.ci, got)
		}
	}
	if requirement(nil, true) != runTest {
		t.Error("a server that is there is not used")
	}
}

func TestAvailable(t *testing.T) {
	t.Parallel()
	Require(t)
	ok(t, Available())
	if v := must(ServerVersion())(t); !v.AtLeast(7, 0, 0) {
		t.Errorf("version %v", v)
	}
}
