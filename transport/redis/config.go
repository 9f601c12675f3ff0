package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/logguard"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// Defaults of [Config].
const (
	DefaultClientName     = "shardbus"
	DefaultMaxPayload     = transport.DefaultMaxPayload
	DefaultPublishTimeout = 15 * time.Second
	DefaultCommandTimeout = time.Second
	DefaultQueueEvents    = 8192
	DefaultQueueBytes     = 32 << 20
	DefaultReceiveBytes   = 64 << 20
	DefaultProbeInterval  = 2 * time.Second
	DefaultProbeTimeout   = time.Second
	DefaultStandbyAfter   = 250 * time.Millisecond
	DefaultLease          = 10 * time.Second
)

// Config says where the servers are and bounds what the transport uses. Only Addrs is required, or
// Sentinel instead.
type Config struct {
	// Addrs are start addresses, host:port each. For a cluster any of its nodes is enough; the
	// others are found. For standalone servers they are names of one primary and its replicas: the
	// transport uses the server that says that it is the primary, and goes to another when that one
	// becomes a replica or is lost. A name is looked up anew for each connection. A host alone gets
	// port 6379. Required without Sentinel, and empty with it.
	Addrs []string

	// Sentinel says which sentinels know the primary. Zero: there are none.
	Sentinel Sentinel

	// Username and Password log in to every server. An empty Username with a Password is the
	// default user. Both empty: no login.
	Username, Password string

	// Credentials, if not nil, is called in place of Username and Password whenever a connection to
	// the server at addr is made, and whenever one logs in again. It may be called at any time and
	// concurrently, on a goroutine of its own; its context ends after 10 s. When it fails, panics
	// or ends its goroutine, a new connection is tried again later and an open one stays as it is.
	// If it does not return although its context has ended, it is not called for that address again
	// until it has.
	Credentials func(ctx context.Context, addr string) (Credentials, error)

	// TLS, if not nil, makes every connection to a server TLS. Each certificate must name the host
	// of the address that the node announces. If ServerName is set, each must name that instead.
	// Certificates are ours, for servers that ask for them.
	TLS *tls.Config

	// Dial makes the connections in place of TCP: through a proxy, or to a fake in tests. TLS runs
	// over what it makes. Nil: TCP. It is called on a goroutine of its own, with a context that
	// ends after CommandTimeout and bounds only the dialling. If Dial panics or ends its goroutine,
	// the connection failed; the same holds for a panic in a method of the connection it returns.
	// If it does not return although its context has ended, it is not called for that address again
	// until it has. The same holds for functions of TLS.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Logger gets what an operator should know: shards that come and go, connections that fail; see
	// docs/logs.md. Nil: silent.
	Logger *zap.Logger

	// ClientName begins the names of the connections, as CLIENT LIST and SLOWLOG show them:
	// NAME-publish, NAME-subscribe, NAME-topology, and NAME-open for what is asked once. Name it
	// after your service. At most 64 printable ASCII characters, no space. Empty: shardbus.
	ClientName string

	// Compact sends events in the compact form of docs/wire.md in place of CloudEvents documents.
	// It takes a quarter of the time to write and read, and fewer bytes, but redis-cli and other
	// clients cannot read it. Subscribers of this library read both forms, with any setting.
	Compact bool

	// Topics has settings for single topics, by name. Nil: none.
	Topics map[string]TopicConfig

	// MaxPayload is the largest payload in bytes; a larger one is transport.ErrTooLarge. Zero: 1
	// MiB. At most 256 MiB.
	MaxPayload int

	// PublishTimeout is how long a Publish goes on trying if its context does not end first. It
	// should be longer than a fail-over. Zero: 15 s.
	PublishTimeout time.Duration

	// CommandTimeout bounds dialling, and how long nothing may move on a publisher's connection: no
	// KiB of the oldest pipeline leaves, nor its end, and no reply comes. Then the server counts as
	// failed. The total time of a pipeline does not count: a large event may take long on a slow
	// link, within PublishTimeout. Zero: 1 s.
	CommandTimeout time.Duration

	// QueueEvents and QueueBytes bound what waits to be accepted by one shard; at the bound Publish
	// blocks. Zero: 8192 events, 32 MiB.
	QueueEvents, QueueBytes int

	// ReceiveBytes bounds what was received on one connection and not yet delivered to the bus.
	// Beyond it the newest events are a gap. Zero: 64 MiB.
	ReceiveBytes int

	// ProbeInterval is how often a connection with subscriptions proves that it hears what is
	// published at its node, by an event of some 100 bytes that nobody else gets, ±25%. Zero: 2 s.
	// Negative: never; then only pings are left, which find a silent server but not a connection
	// that receives nothing. At least 10 ms.
	ProbeInterval time.Duration

	// ProbeTimeout is how long such an event, once the node has accepted it, may take to arrive
	// while nothing else arrives either. Then the connection counts as dead. Zero: 1 s. At least 10
	// ms.
	ProbeTimeout time.Duration

	// Standby subscribes at every node of a shard, replicas too, and publishes at a replica while
	// the primary is of no use. A fail-over then costs milliseconds of silence, not seconds. It
	// multiplies what a subscriber receives by the number of nodes of a shard; docs/redis.md says
	// when that pays. Either all publishers and subscribers of a topic should have it, or none. It
	// needs a cluster, replicas, and Repair, which still gives completeness and order. False: off.
	Standby bool

	// StandbyAfter is how long, with Standby, nothing may move on the connection to a primary
	// before a replica is tried. It is about the longest silence that a hanging primary causes.
	// Zero: 250 ms. At least 10 ms; more than CommandTimeout counts as CommandTimeout.
	StandbyAfter time.Duration

	// Lease is how long a process keeps a partition of a durable topic without renewing that. So it is
	// how long its events wait when a process dies. Zero: 10 s. At least 2 s.
	Lease time.Duration

	// Repair configures how lost events are sent again. The zero value is right for most.
	Repair Repair

	servers   *conn.Settings    // how the servers are reached; resolved makes it
	sentinels *conn.Settings    // likewise; nil: there are none
	topology  *cluster.Settings // likewise
}

// resolved returns the config with its defaults, or what is wrong with it.
func (c Config) resolved() (Config, error) {
	var err error
	switch {
	case c.Sentinel.used() && len(c.Addrs) > 0:
		return c, errors.New("redis: Config.Addrs and Config.Sentinel are set: the sentinels tell where the servers are, leave Addrs out")
	case c.Sentinel.used():
		c.Sentinel, err = c.Sentinel.resolved()
	case len(c.Addrs) == 0:
		return c, errors.New("redis: Config.Addrs is empty: name at least one server as host:port")
	default:
		c.Addrs, err = withPorts("Config.Addrs", c.Addrs, defaultPort)
	}
	if err != nil {
		return c, err
	}
	if c.Repair, err = c.Repair.resolved(); err != nil {
		return c, err
	}
	if c.Credentials != nil && (c.Username != "" || c.Password != "") {
		return c, errors.New("redis: Config.Credentials and Config.Username or Password are set: choose one")
	}
	if c.ClientName, err = clientName(c.ClientName); err != nil {
		return c, err
	}
	if c.Username != "" && c.Password == "" {
		return c, fmt.Errorf("redis: Config.Username is %q, but Config.Password is empty", c.Username)
	}
	switch {
	case c.Standby && c.Repair.Off:
		return c, errors.New("redis: Config.Standby and Config.Repair.Off are set: Repair puts the copies from several nodes in order")
	case c.Standby && c.Sentinel.used():
		return c, fmt.Errorf("redis: Config.Sentinel is set: %w", errStandbyNowhere)
	}
	c.Logger = logguard.Wrap(c.Logger)
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
	for name := range c.Topics {
		if err := router.ValidName(name); err != nil {
			return c, fmt.Errorf("redis: Config.Topics: %w", err)
		}
	}
	c.Topics = maps.Clone(c.Topics)
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
		{"StandbyAfter", &c.StandbyAfter, DefaultStandbyAfter, 10 * time.Millisecond},
		{"Lease", &c.Lease, DefaultLease, 2 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
		if *d.value < d.lowest {
			return c, fmt.Errorf("redis: Config.%s is %v, want %v or more", d.name, *d.value, d.lowest)
		}
	}
	c.connect()
	return c, nil
}

// connect makes the settings of connections out of what the config says.
func (c *Config) connect() {
	c.servers = &conn.Settings{
		Username: c.Username, Password: c.Password, Credentials: loginsOf(c.Credentials), TLS: c.TLS, DialFunc: c.Dial, ClientName: c.ClientName,
		CommandTimeout: c.CommandTimeout, EventBytes: max(c.ReceiveBytes, c.MaxPayload/3*4), Logger: c.Logger, Calls: new(usercode.Calls),
	}
	if c.Sentinel.used() {
		s := *c.servers
		s.Username, s.Password, s.Credentials, s.TLS = c.Sentinel.Username, c.Sentinel.Password, loginsOf(c.Sentinel.Credentials), c.Sentinel.TLS
		c.sentinels = &s
	}
	c.topology = &cluster.Settings{
		Addrs: c.Addrs, SentinelAddrs: c.Sentinel.Addrs, Primary: c.Sentinel.Primary, Servers: c.servers, Sentinels: c.sentinels,
		Standby: c.Standby, FindTimeout: c.PublishTimeout, Logger: c.Logger,
	}
}

// clientName returns the name or its default, or what is wrong with it. Redis takes no others.
func clientName(name string) (string, error) {
	if name == "" {
		return DefaultClientName, nil
	}
	if len(name) > 64 {
		return "", fmt.Errorf("redis: Config.ClientName has %d bytes, want at most 64", len(name))
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return "", fmt.Errorf("redis: Config.ClientName is %q, want printable ASCII characters without a space", name)
		}
	}
	return name, nil
}

// loginsOf returns what asks a function of a config for credentials; nil if there is none.
func loginsOf(ask func(ctx context.Context, addr string) (Credentials, error)) func(ctx context.Context, addr string) (conn.Login, error) {
	if ask == nil {
		return nil
	}
	return func(ctx context.Context, addr string) (conn.Login, error) {
		c, err := ask(ctx, addr)
		return conn.Login(c), err
	}
}

// never is an interval that does not pass.
const never = time.Duration(math.MaxInt64)

const (
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
)

// withPorts adds the default port to the addresses that have none.
func withPorts(field string, addrs []string, port string) ([]string, error) {
	full := make([]string, len(addrs))
	for i, addr := range addrs {
		var err error
		if full[i], err = withPort(addr, port); err != nil {
			return nil, fmt.Errorf("redis: %s[%d] %w", field, i, err)
		}
	}
	return full, nil
}

// withPort adds the default port to an address that has none. An error says what is wrong behind
// the place, and does not quote the address: where it is no host:port, a password may be in it.
func withPort(addr, standard string) (string, error) {
	switch {
	case strings.Contains(addr, "://") || strings.Contains(addr, "@"):
		return "", errors.New("is a URL or has a login in it: want host:port; ParseURL reads URLs")
	case strings.Contains(addr, ","):
		return "", errors.New("is a list: want one host:port; ParseURL reads lists")
	case strings.ContainsAny(addr, "/?# \t\r\n"):
		return "", errors.New("is no host:port: it has characters that no host has")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		var again error
		if host, port, again = net.SplitHostPort(addr + ":" + standard); again != nil {
			var why *net.AddrError
			if errors.As(err, &why) {
				return "", fmt.Errorf("is no host:port: %s", why.Err)
			}
			return "", errors.New("is no host:port")
		}
	}
	if host == "" {
		return "", errors.New("is no host:port: it has no host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("is no host:port: its port is not from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}
