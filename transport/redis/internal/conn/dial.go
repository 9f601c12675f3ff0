package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// What connections are for, which ends their names in CLIENT LIST: see Settings.ClientName.
const (
	NameOpen       = "open"
	NameTopology   = "topology"
	NameWriter     = "publish"
	NameReader     = "subscribe"
	NameLog        = "log"
	NameLogNotices = "log-notices"
)

const (
	// NoKeepAlive keeps rueidis from pinging, which would make it start goroutines between us and
	// the socket.
	NoKeepAlive = -1

	bufferBytes = 64 << 10
	ringScale   = 4 // slots for pipelines, not for commands; each of our connections has one or two in flight
)

// option returns how rueidis reaches one node, but for who dials.
func (c *Settings) option(addr string) rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress:         []string{addr}, // neither user nor name: handshake has told them
		TLSConfig:           c.TLS,
		Dialer:              net.Dialer{Timeout: c.CommandTimeout, KeepAlive: NoKeepAlive},
		ConnWriteTimeout:    c.CommandTimeout,
		ForceSingleClient:   true,
		PipelineMultiplex:   -1,
		BlockingPipeline:    1 << 30, // a large pipeline must not be sent on a connection of its own
		RingScaleEachConn:   ringScale,
		ReadBufferEachConn:  bufferBytes,
		WriteBufferEachConn: bufferBytes,
		DisableRetry:        true,
		DisableCache:        true,
		ClientSetInfo:       rueidis.DisableClientSetInfo,
	}
}

// dialer makes the connections of a client of rueidis.
type dialer struct {
	cfg      *Settings
	ctx      context.Context // bounds dialling; rueidis has none of ours
	name     string
	limits   resp.Limits
	auth     *AuthConn // nil: there is nothing to keep logged in
	disabled atomic.Bool
	last     atomic.Pointer[Socket] // the last
}

// Dial is what rueidis calls.
func (d *dialer) dial(_ context.Context, addr string, n *net.Dialer, secure *tls.Config) (net.Conn, error) {
	if d.disabled.Load() {
		return nil, errDialDisabled
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout())
	defer cancel()
	who, err := d.cfg.LoginFor(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn, err := d.cfg.Connect(ctx, addr, n, secure)
	if err != nil {
		return nil, err
	}
	told, err := d.cfg.handshake(ctx, conn, who, d.name)
	if err != nil {
		_ = withoutTLS(conn).Close() // the reason is told already
		return nil, err
	}
	if d.auth != nil {
		d.auth.Reauther.Schedule(d.auth, who.Renew)
	}
	s := &Socket{Conn: newReplyGuard(conn, told, d.limits), Hello: told}
	d.last.Store(s)
	return s, nil
}

// timeout is how long making a connection may take.
func (d *dialer) timeout() time.Duration { return d.cfg.dialTimeout() }

// dialTimeout is how long making a connection may take.
func (c *Settings) dialTimeout() time.Duration {
	if c.Credentials != nil {
		return c.CommandTimeout + credentialsTimeout
	}
	return c.CommandTimeout
}

// closeNow closes the connection at once: rueidis gives a silent server a second to say something
// more.
func (d *dialer) closeNow() {
	if s := d.last.Load(); s != nil {
		_ = s.Close() // it is of no use any more
	}
}

// withoutTLS is the connection below: TLS says goodbye before it closes, and waits for a server
// that hangs.
func withoutTLS(conn net.Conn) net.Conn {
	return cmp.Or(netConn(conn), conn)
}

func (c *Settings) newDialer(ctx context.Context, addr, name string) *dialer {
	d := &dialer{cfg: c, ctx: ctx, name: name, limits: resp.Limits{Bulk: maxTold, Elements: maxElements}}
	if c.Credentials != nil {
		d.auth = c.NewAuthConn(addr)
	}
	return d
}

// Dial returns a client with one connection to the node. When that is lost the client makes
// another; ctx bounds its life: when it ends, what waits for an answer fails.
func (c *Settings) Dial(ctx context.Context, addr, purpose string) (Client, error) {
	return dialClient(ctx, c, addr, c.option(addr), c.newDialer(ctx, addr, c.ConnectionName(purpose)))
}

func dialClient(ctx context.Context, c *Settings, addr string, option rueidis.ClientOption, d *dialer) (Client, error) {
	option.DialCtxFn = d.dial
	client, err := rueidis.NewClient(option)
	if err != nil {
		d.closeNow()
		if client != nil {
			client.Close()
		}
		return Client{}, fmt.Errorf("redis: connect to %s: %w", addr, c.ExplainConnect(err))
	}
	k := Client{Client: client, dialer: d, release: func() {}, ended: context.AfterFunc(ctx, d.closeNow)}
	if d.auth != nil {
		k.release = d.auth.track(client)
	}
	return k, nil
}

// DialLog is Dial for the commands of the log: many are in flight at once, and events come with the
// replies.
func (c *Settings) DialLog(ctx context.Context, addr string) (Client, error) {
	option, d := c.option(addr), c.newDialer(ctx, addr, c.ConnectionName(NameLog))
	d.limits = c.messageLimits()
	option.RingScaleEachConn = logRingScale
	return dialClient(ctx, c, addr, option, d)
}

// LogInFlight is how many commands may be in flight on a connection of DialLog. Beyond that rueidis
// does not honour contexts.
const LogInFlight = 1 << (logRingScale - 1)

const logRingScale = 9

// Client is a client that hangs up at once, and is kept logged in.
type Client struct {
	rueidis.Client
	dialer  *dialer
	release func()
	ended   func() bool // its context is not waited for any more
}

// Hello returns what the server said of itself when the connection was made.
func (k Client) Hello() ServerHello { return k.dialer.last.Load().Hello }

// Close closes the client.
func (k Client) Close() {
	k.ended()
	k.release()
	k.dialer.closeNow()
	k.Client.Close()
}

// errDialDisabled keeps a client from dialling a connection that nobody would use.
var errDialDisabled = errors.New("redis: only the dedicated connection is dialled")

// DialDedicated returns a connection that is nobody else's, for Pub/Sub. ctx bounds its life. A
// client has a shared connection beside its dedicated ones; its dialling is refused, which rueidis
// allows for single clients. closeAll does not wait for the server, which may be silent.
func (c *Settings) DialDedicated(ctx context.Context, addr, purpose string) (conn rueidis.DedicatedClient, s *Socket, closeAll func(), err error) {
	option, d := c.option(addr), c.newDialer(ctx, addr, c.ConnectionName(purpose))
	d.limits = c.messageLimits()
	d.disabled.Store(true)
	option.DialCtxFn = d.dial
	client, err := rueidis.NewClient(option)
	if client == nil || !errors.Is(err, errDialDisabled) {
		if client != nil {
			client.Close()
		}
		return nil, nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, err)
	}
	d.disabled.Store(false)
	conn, _ = client.Dedicate()
	release := func() {}
	closeAll = func() {
		release()
		d.closeNow()
		conn.Close()
		client.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	if err := conn.Do(ctx, conn.B().Ping().Build()).Error(); err != nil && !ServesPubSub(err) {
		closeAll()
		return nil, nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, c.ExplainConnect(err))
	}
	s = d.last.Load()
	switch {
	case d.auth == nil:
	case s.Hello.Resp3:
		release = d.auth.track(conn)
	default: // a subscriber's connection may not send AUTH: the next one logs in
		release = d.auth.TrackWith(func(context.Context, ...string) error { return s.Close() })
	}
	return conn, s, closeAll, nil
}
