package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"go.uber.org/zap"
)

// Defaults of [Config].
const (
	DefaultMaxPayload     = 1 << 20
	DefaultPublishTimeout = 15 * time.Second
	DefaultCommandTimeout = time.Second
	DefaultQueueEvents    = 8192
	DefaultQueueBytes     = 32 << 20
	DefaultReceiveBytes   = 64 << 20
	DefaultProbeInterval  = 2 * time.Second
	DefaultProbeTimeout   = time.Second
)

// Config says where the servers are and bounds what the transport uses. Only Addrs is required.
type Config struct {
	// Addrs are start addresses, host:port each. Of a cluster any of its nodes will do; the others are found. Of
	// standalone servers the first that answers is used. A host alone gets port 6379. Required.
	Addrs []string

	// Username and Password log in to every server. An empty Username with a Password is the default user. Both
	// empty: no login.
	Username, Password string

	// TLS, if not nil, makes every connection TLS. An empty ServerName means the host of each address.
	TLS *tls.Config

	// Dial makes the connections in place of TCP: through a proxy, or to a fake in tests. Under TLS it makes what that
	// runs over. Nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Logger gets what an operator should know: shards that come and go, connections that fail. Nil: silent.
	Logger *zap.Logger

	// MaxPayload is the largest payload in bytes; a larger one is transport.ErrTooLarge. Zero: 1 MiB. At most 256 MiB.
	MaxPayload int

	// PublishTimeout is how long a Publish goes on trying when its context does not end before. It should outlast a
	// fail-over. Zero: 15 s.
	PublishTimeout time.Duration

	// CommandTimeout bounds dialling, and each pipeline from its writing to its last reply. A server that is silent for
	// as long counts as failed. Zero: 1 s.
	CommandTimeout time.Duration

	// QueueEvents and QueueBytes bound what waits to be accepted by one shard; beyond it Publish blocks. Zero: 8192
	// events, 32 MiB.
	QueueEvents, QueueBytes int

	// ReceiveBytes bounds what was received on one connection and not yet handed over. Beyond it the newest are a
	// gap. Zero: 64 MiB.
	ReceiveBytes int

	// ProbeInterval is how often a connection with subscriptions proves that it hears what is published at its node, by
	// an event of some 100 bytes that nobody else gets, ±25%. Zero: 2 s. Negative: never; what is left then are pings,
	// which find a silent server but not a deaf connection. At least 10 ms.
	ProbeInterval time.Duration

	// ProbeTimeout is how long such an event, once the node has accepted it, may take to arrive while nothing else does
	// either. Then the connection counts as dead. Zero: 1 s. At least 10 ms.
	ProbeTimeout time.Duration
}

// resolved returns the config with its defaults, or what is wrong with it.
func (c Config) resolved() (Config, error) {
	if len(c.Addrs) == 0 {
		return c, errors.New("redis: Config.Addrs is empty: name at least one server as host:port")
	}
	addrs := make([]string, len(c.Addrs))
	for i, addr := range c.Addrs {
		full, err := withPort(addr)
		if err != nil {
			return c, fmt.Errorf("redis: Config.Addrs[%d]: %w", i, err)
		}
		addrs[i] = full
	}
	c.Addrs = addrs
	if c.Username != "" && c.Password == "" {
		return c, fmt.Errorf("redis: Config.Username is %q, but Config.Password is empty", c.Username)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	for _, n := range []struct {
		name          string
		value         *int
		zero, highest int
	}{
		{"MaxPayload", &c.MaxPayload, DefaultMaxPayload, 256 << 20},
		{"QueueEvents", &c.QueueEvents, DefaultQueueEvents, 1 << 24},
		{"QueueBytes", &c.QueueBytes, DefaultQueueBytes, 1 << 40},
		{"ReceiveBytes", &c.ReceiveBytes, DefaultReceiveBytes, 1 << 40},
	} {
		if *n.value == 0 {
			*n.value = n.zero
		}
		if *n.value < 0 || *n.value > n.highest {
			return c, fmt.Errorf("redis: Config.%s is %d, want 1 to %d", n.name, *n.value, n.highest)
		}
	}
	if c.ProbeInterval < 0 {
		c.ProbeInterval = never
	}
	for _, d := range []struct {
		name         string
		value        *time.Duration
		zero, lowest time.Duration
	}{
		{"PublishTimeout", &c.PublishTimeout, DefaultPublishTimeout, time.Millisecond},
		{"CommandTimeout", &c.CommandTimeout, DefaultCommandTimeout, time.Millisecond},
		{"ProbeInterval", &c.ProbeInterval, DefaultProbeInterval, 10 * time.Millisecond},
		{"ProbeTimeout", &c.ProbeTimeout, DefaultProbeTimeout, 10 * time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
		if *d.value < d.lowest {
			return c, fmt.Errorf("redis: Config.%s is %v, want %v or more", d.name, *d.value, d.lowest)
		}
	}
	return c, nil
}

// never is an interval that does not pass.
const never = time.Duration(math.MaxInt64)

const defaultPort = "6379"

// withPort adds the default port to an address that has none.
func withPort(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		var again error
		if host, port, again = net.SplitHostPort(addr + ":" + defaultPort); again != nil {
			return "", fmt.Errorf("%q is no host:port: %w", addr, err)
		}
	}
	if host == "" || port == "" {
		return "", fmt.Errorf("%q is no host:port", addr)
	}
	return net.JoinHostPort(host, port), nil
}
