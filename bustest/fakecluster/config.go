package fakecluster

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultVersion           = "7.0.15"
	DefaultPrimaries         = 3
	DefaultNodeTimeout       = 2 * time.Second
	DefaultOutputBufferBytes = 32 << 20
)

// Config says what to imitate. The zero value is three primaries without replicas, Redis 7.0.15, in memory.
type Config struct {
	// Primaries is the number of shards; the slots are divided evenly, in order. Zero: 3. Ignored with Standalone.
	Primaries int

	// Replicas is the number of replicas of each primary. Zero: none. Ignored with Standalone.
	Replicas int

	// Version is what HELLO and INFO say, and what decides how channels fare when a slot changes hands: up to 7.2.1 a
	// promoted replica and an importing node keep them; from 7.2.2 on every node drops them with a "sunsubscribe".
	// Three numbers; 7.0.0 or later. Empty: "7.0.15".
	Version string

	// Standalone makes it one server with cluster support disabled.
	Standalone bool

	// TCP makes the nodes listen on ports of 127.0.0.1 that the kernel chooses. Without it they have addresses that
	// nobody can reach (192.0.2.0/24 is reserved for documentation) and every connection is a net.Pipe made by
	// [Cluster.Dial]. TCP does not work in a synctest bubble: its time would stand still.
	TCP bool

	// Password is what HELLO and AUTH of the default user must give. Empty: no login is needed.
	Password string

	// NodeTimeout is after how long without a primary the others say cluster_state:fail and answer CLUSTERDOWN, and
	// an isolated primary does so itself. Zero: 2 s.
	NodeTimeout time.Duration

	// FailOverAfter is after how long a primary that was killed, paused or isolated is replaced by a replica, if one
	// can be reached. Zero: only FailOver and FailOverTo replace it.
	FailOverAfter time.Duration

	// OutputBufferBytes bounds what waits to be written to a client that subscribes to something; beyond it the
	// connection is closed, as by client-output-buffer-limit pubsub. Zero: 32 MiB.
	OutputBufferBytes int
}

// resolved returns the config with its defaults, or what is wrong with it.
func (c Config) resolved() (Config, version, error) {
	if c.Primaries == 0 {
		c.Primaries = DefaultPrimaries
	}
	if c.Standalone {
		c.Primaries, c.Replicas = 1, 0
	}
	if c.Version == "" {
		c.Version = DefaultVersion
	}
	if c.NodeTimeout == 0 {
		c.NodeTimeout = DefaultNodeTimeout
	}
	if c.OutputBufferBytes == 0 {
		c.OutputBufferBytes = DefaultOutputBufferBytes
	}
	v, err := parseVersion(c.Version)
	switch {
	case err != nil:
		return c, v, err
	case c.Primaries < 1 || c.Replicas < 0 || c.Primaries*(1+c.Replicas) > maxNodes:
		return c, v, fmt.Errorf("%d primaries with %d replicas each: want 1 to %d nodes", c.Primaries, c.Replicas, maxNodes)
	case c.NodeTimeout < 0 || c.FailOverAfter < 0 || c.OutputBufferBytes < 0:
		return c, v, fmt.Errorf("a negative bound: %+v", c)
	}
	return c, v, nil
}

// maxNodes is how many addresses 192.0.2.0/24 has.
const maxNodes = 254

// version is the version of a server.
type version [3]int

func parseVersion(text string) (v version, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != len(v) {
		return v, fmt.Errorf("version %q: want three numbers, as in 7.2.4", text)
	}
	for i, part := range parts {
		if v[i], err = strconv.Atoi(part); err != nil || v[i] < 0 {
			return v, fmt.Errorf("version %q: want three numbers, as in 7.2.4", text)
		}
	}
	if v[0] < 7 {
		return v, fmt.Errorf("version %s has no sharded Pub/Sub: want 7.0.0 or later", text)
	}
	return v, nil
}

// before reports whether v is older than o.
func (v version) before(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// dropping is the first version that drops a slot's channels whenever the slot changes hands.
var dropping = version{7, 2, 2}
