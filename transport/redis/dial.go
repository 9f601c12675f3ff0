package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// Names of our connections in CLIENT LIST.
const (
	nameOpen     = "shardbus-open"
	nameTopology = "shardbus-topology"
	nameWriter   = "shardbus-publish"
	nameReader   = "shardbus-subscribe"
)

const (
	// noKeepAlive keeps rueidis from pinging, which would make it start goroutines between us and the socket.
	noKeepAlive = -1

	bufferBytes = 64 << 10
	ringScale   = 4 // slots for pipelines, not for commands; each of our connections has one or two in flight
)

// option returns how to reach one node.
func (c *Config) option(addr, name string) rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress:         []string{addr},
		Username:            c.Username,
		Password:            c.Password,
		TLSConfig:           c.TLS,
		ClientName:          name,
		Dialer:              net.Dialer{Timeout: c.CommandTimeout, KeepAlive: noKeepAlive},
		DialCtxFn:           c.connect,
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

// connect makes a connection; secure is nil without TLS.
func (c *Config) connect(ctx context.Context, addr string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
	switch {
	case c.Dial == nil && secure == nil:
		return d.DialContext(ctx, "tcp", addr)
	case c.Dial == nil:
		return (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, "tcp", addr)
	}
	conn, err := c.Dial(ctx, addr)
	if err != nil || secure == nil {
		return conn, err
	}
	if secure.ServerName == "" { // as tls.Dialer does
		secure = secure.Clone()
		if secure.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return tls.Client(conn, secure), nil
}

// dial returns a client with one connection to the node. When that is lost the client makes another; ctx bounds its life.
func (c *Config) dial(ctx context.Context, addr, name string) (rueidis.Client, error) {
	option := c.option(addr, name)
	kept := c.authenticate(ctx, &option, addr)
	client, err := rueidis.NewClient(option)
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, fmt.Errorf("redis: connect to %s: %w", addr, c.explainConnect(err))
	}
	if kept == nil {
		return client, nil
	}
	return keptClient{Client: client, release: kept.keep(client)}, nil
}

// keptClient is a client that is kept logged in.
type keptClient struct {
	rueidis.Client
	release func()
}

// Close closes the client.
func (k keptClient) Close() {
	k.release()
	k.Client.Close()
}

// errNotYet keeps a client from dialling a connection that nobody would use.
var errNotYet = errors.New("redis: only the dedicated connection is dialled")

// dialDedicated returns a connection that is nobody else's, for Pub/Sub. ctx bounds its life. A client has a shared
// connection beside its dedicated ones; its dialling is refused, which rueidis allows for single clients. closeAll does
// not wait for the server, which may be silent.
func (c *Config) dialDedicated(ctx context.Context, addr, name string) (conn rueidis.DedicatedClient, s *socket, closeAll func(), err error) {
	option := c.option(addr, name)
	kept := c.authenticate(ctx, &option, addr)
	var dedicated atomic.Bool
	var made atomic.Pointer[socket]
	option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		if !dedicated.Load() {
			return nil, errNotYet
		}
		conn, err := c.connect(ctx, addr, d, secure)
		if err != nil {
			return nil, err
		}
		s := &socket{Conn: conn}
		made.Store(s)
		return s, nil
	}
	client, err := rueidis.NewClient(option)
	if client == nil || !errors.Is(err, errNotYet) {
		if client != nil {
			client.Close()
		}
		return nil, nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, err)
	}
	dedicated.Store(true)
	conn, _ = client.Dedicate()
	closeAll = func() {
		if s := made.Load(); s != nil {
			_ = s.Close() // rueidis gives a silent server a second to say something more
		}
		conn.Close()
		client.Close()
	}
	limit := c.CommandTimeout
	if c.Credentials != nil {
		limit += credentialsTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := conn.Do(ctx, conn.B().Ping().Build()).Error(); err != nil {
		closeAll()
		return nil, nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, c.explainConnect(err))
	}
	if kept == nil {
		return conn, made.Load(), closeAll, nil
	}
	release, end := kept.keep(conn), closeAll
	return conn, made.Load(), func() {
		release()
		end()
	}, nil
}
