package redistest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config says what a server is like. The zero value is a plain server without
// a password, without persistence, on 127.0.0.1.
type Config struct {
	// Password is what the default user must give (requirepass). Empty: none.
	Password string

	// TLS makes the server, its replication and its cluster bus speak TLS
	// only. [Server.TLSConfig] is what a client needs. Client certificates are
	// accepted, not demanded (the directive "tls-auth-clients yes" demands them).
	TLS bool

	// Directives are further lines as in redis.conf, after ours, so that they
	// win: "client-output-buffer-limit pubsub 1mb 512kb 0",
	// "user alice on >secret ~* &orders.* +@all", "user default off". They hold
	// across restarts, other than what CONFIG SET changed. An "aclfile" is not
	// possible, as this package adds a user of its own.
	Directives []string

	// Binary is the server to run, as a path or a name to be found in PATH.
	// Empty: what the environment variable [BinaryEnv] says, else
	// "redis-server". Valkey works too.
	Binary string
}

// validate reports what is wrong with the config.
func (c Config) validate() error {
	for _, d := range append([]string{c.Password}, c.Directives...) {
		if strings.ContainsAny(d, "\r\n\x00") {
			return fmt.Errorf("redistest: a directive or password spans lines: %q", d)
		}
	}
	return nil
}

// ClusterConfig says what a cluster is like. The zero value has 3 primaries
// without replicas.
type ClusterConfig struct {
	Config // of every node

	// Primaries is how many primaries share the slots evenly. 0 means 3. With
	// 1 or 2 a failed primary is never replaced: a vote needs a majority.
	Primaries int

	// Replicas is how many replicas each primary has.
	Replicas int

	// NodeTimeout is how long a node must be silent until the others suspect
	// it (cluster-node-timeout). 0 means 2 s; milliseconds are the unit. A
	// killed primary is replaced after about twice as long.
	NodeTimeout time.Duration

	// Isolatable makes [Cluster.Isolate] work: the cluster bus goes through
	// proxies. It needs Linux, where all of 127.0.0.0/8 is this machine.
	Isolatable bool
}

// withDefaults returns c with its zero fields set.
func (c ClusterConfig) withDefaults() ClusterConfig {
	if c.Primaries == 0 {
		c.Primaries = 3
	}
	if c.NodeTimeout == 0 {
		c.NodeTimeout = 2 * time.Second
	}
	return c
}

// validate reports what is wrong with the config, defaults already set.
func (c ClusterConfig) validate() error {
	switch {
	case c.Primaries < 0 || c.Primaries > SlotCount:
		return fmt.Errorf("redistest: %d primaries", c.Primaries)
	case c.Replicas < 0:
		return fmt.Errorf("redistest: %d replicas", c.Replicas)
	case c.NodeTimeout < time.Millisecond:
		return errors.New("redistest: a node timeout of less than 1 ms")
	}
	return c.Config.validate()
}

// adminUser is a user that every server has beside the default one. Whatever a
// test does to the default user or its password, this package can still manage
// the server, and servers can still replicate from each other.
const adminUser = "redistest"

// adminPassword is the admin user's, new in every run of the process.
var adminPassword = sync.OnceValue(rand.Text)

// mode is what a server is started as.
type mode int

const (
	modeStandalone mode = iota
	modeCluster
	modeSentinel
)

// configFile returns the text of the server's redis.conf.
func configFile(m mode, c Config, dir string, port, busPort int, extra []string) string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	plainPort, tlsPort := port, 0
	if c.TLS {
		plainPort, tlsPort = 0, port
		for _, l := range tlsDirectives(dir) {
			line(l)
		}
	}
	line("port", strconv.Itoa(plainPort))
	line("tls-port", strconv.Itoa(tlsPort))
	line("bind 127.0.0.1")
	line("daemonize no")
	line("logfile", `""`)
	line("dir", quote(dir))
	line("user", adminUser, "on", ">"+adminPassword(), "~*", "&*", "+@all")
	if c.Password != "" {
		line("requirepass", quote(c.Password))
	}
	if m != modeSentinel {
		line("save", `""`)
		line("appendonly no")
		line("masteruser", adminUser)
		line("masterauth", adminPassword())
		line("enable-debug-command local")
		line("shutdown-timeout 0")
		// A replica is in step at once, without a file and without waiting for others.
		line("repl-diskless-sync yes")
		line("repl-diskless-sync-delay 0")
		line("repl-ping-replica-period 1")
		// What a replica received must not come back after its restart.
		line("rdb-del-sync-files yes")
	}
	if m == modeCluster {
		line("cluster-enabled yes")
		line("cluster-config-file nodes.conf")
		line("cluster-port", strconv.Itoa(busPort))
		line("cluster-announce-ip 127.0.0.1") // a node that is alone does not know its own address
		// A test decides who replicates whom.
		line("cluster-allow-replica-migration no")
	}
	for _, l := range extra {
		line(l)
	}
	for _, l := range c.Directives {
		line(l)
	}
	return b.String()
}

// quote returns s as a quoted word of redis.conf.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}
