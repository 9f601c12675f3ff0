package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

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
	// keepAlive is how often an idle reader's connection is proven to live.
	keepAlive = 300 * time.Millisecond
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

// dialDedicated returns a connection that is nobody else's, for Pub/Sub. ctx bounds its life. A client has a shared connection beside its
// dedicated ones; its dialling is refused, which rueidis allows for single clients.
func (c *Config) dialDedicated(ctx context.Context, addr, name string) (rueidis.DedicatedClient, func(), error) {
	option := c.option(addr, name)
	kept := c.authenticate(ctx, &option, addr)
	option.Dialer.KeepAlive = keepAlive
	var dedicated atomic.Bool
	option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		if !dedicated.Load() {
			return nil, errNotYet
		}
		return c.connect(ctx, addr, d, secure)
	}
	client, err := rueidis.NewClient(option)
	if client == nil || !errors.Is(err, errNotYet) {
		if client != nil {
			client.Close()
		}
		return nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, err)
	}
	dedicated.Store(true)
	conn, _ := client.Dedicate()
	closeAll := func() {
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
		return nil, nil, fmt.Errorf("redis: connect to %s: %w", addr, c.explainConnect(err))
	}
	if kept == nil {
		return conn, closeAll, nil
	}
	release := kept.keep(conn)
	return conn, func() {
		release()
		closeAll()
	}, nil
}
