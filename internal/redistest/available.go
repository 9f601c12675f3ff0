package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// BinaryEnv names the environment variable that selects the server to run,
// as a path or a name to be found in PATH. Unset means "redis-server".
const BinaryEnv = "SHARDBUS_REDIS_SERVER"

var (
	// ErrNotInstalled says that no redis-server was found.
	ErrNotInstalled = errors.New("redistest: no redis-server found: install it (apt-get install redis-server), run `make test`, or set " + BinaryEnv)
	// ErrTooOld says that the server found is older than 7.0, which is the
	// first to know sharded Pub/Sub.
	ErrTooOld = errors.New("redistest: redis-server is older than 7.0")
)

// Version is a server's version as it reports it.
type Version struct{ Major, Minor, Patch int }

// String returns the version as "major.minor.patch".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// AtLeast reports whether v is major.minor.patch or newer.
func (v Version) AtLeast(major, minor, patch int) bool {
	if v.Major != major {
		return v.Major > major
	}
	if v.Minor != minor {
		return v.Minor > minor
	}
	return v.Patch >= patch
}

// Available reports whether the default server can be used: nil, or an error
// that is [ErrNotInstalled], [ErrTooOld], or tells why it could not be asked.
// It runs `redis-server --version` once and remembers the answer.
func Available() error {
	_, _, err := probeDefault()
	return err
}

// ServerVersion returns the version of the default server, or the error of
// [Available].
func ServerVersion() (Version, error) {
	_, v, err := probeDefault()
	return v, err
}

// probed is what one binary answered.
type probed struct {
	path    string
	version Version
	err     error
}

// probes remembers the answer per binary: asking forks a process.
var probes sync.Map // of binary name to func() probed

// probeDefault probes the binary that Config{}.Binary means.
func probeDefault() (string, Version, error) { return probe("") }

// probe finds binary ("" is the default) and asks for its version.
func probe(binary string) (path string, v Version, err error) {
	if binary == "" {
		binary = os.Getenv(BinaryEnv)
	}
	if binary == "" {
		binary = "redis-server"
	}
	once, _ := probes.LoadOrStore(binary, sync.OnceValue(func() probed { return ask(binary) }))
	p := once.(func() probed)() //nolint:forcetypeassert // only this type is stored
	return p.path, p.version, p.err
}

// ask runs binary --version.
func ask(binary string) probed {
	path, err := exec.LookPath(binary)
	if err != nil {
		return probed{err: fmt.Errorf("%w (looked for %q: %w)", ErrNotInstalled, binary, err)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return probed{err: fmt.Errorf("redistest: %s --version: %w", path, err)}
	}
	v, err := parseVersion(string(out))
	if err != nil {
		return probed{err: fmt.Errorf("redistest: %s --version: %w", path, err)}
	}
	if !v.AtLeast(7, 0, 0) {
		return probed{version: v, err: fmt.Errorf("%w: %s is %s", ErrTooOld, path, v)}
	}
	return probed{path: path, version: v}
}

// versionPattern matches "Redis server v=7.0.15 sha=…" and Valkey's likeness.
var versionPattern = regexp.MustCompile(`\bv=(\d+)\.(\d+)\.(\d+)`)

// parseVersion reads the output of redis-server --version.
func parseVersion(out string) (Version, error) {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return Version{}, fmt.Errorf("no version in %q", out)
	}
	var n [3]int
	for i := range n {
		d, err := strconv.Atoi(m[i+1])
		if err != nil {
			return Version{}, fmt.Errorf("version in %q: %w", out, err)
		}
		n[i] = d
	}
	return Version{n[0], n[1], n[2]}, nil
}
