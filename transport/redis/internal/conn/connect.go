package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

// Connect makes a connection; secure is nil without TLS. Config.Dial and the functions of a
// tls.Config are user code, and so may be a connection's methods: what one of them does wrong is an
// error of this connection alone.
func (c *Settings) Connect(ctx context.Context, addr string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
	if c.DialFunc == nil && secure == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, c.CommandTimeout)
	defer cancel()
	what := "Config.Dial"
	if c.DialFunc == nil {
		what = "Config.TLS"
	}
	return usercode.Do(ctx, c.Calls, "connection to "+addr, what, func(ctx context.Context) (net.Conn, error) {
		if c.DialFunc == nil {
			made, err := (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return recoverPanics(made), nil
		}
		conn, err := c.DialFunc(ctx, addr)
		switch {
		case err != nil:
			return nil, err
		case conn == nil:
			return nil, errors.New("Config.Dial returned neither a connection nor an error")
		}
		conn = recoverPanics(conn)
		if secure == nil {
			return conn, nil
		}
		return tlsHandshake(ctx, conn, addr, secure)
	}, func(conn net.Conn) { _ = conn.Close() }) // it came too late: nobody is there for an error
}

// tlsHandshake makes conn a TLS connection, now: what the handshake calls shall not run where the
// library needs the goroutine.
func tlsHandshake(ctx context.Context, conn net.Conn, addr string, secure *tls.Config) (net.Conn, error) {
	if secure.ServerName == "" { // as tls.Dialer does
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		secure = secure.Clone()
		secure.ServerName = host
	}
	made, ended := tls.Client(conn, secure), false
	defer func() {
		if !ended { // a function of secure panicked or ended the goroutine
			_ = conn.Close()
		}
	}()
	err := made.HandshakeContext(ctx)
	ended = true
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return recoverPanics(made), nil
}

// recoverPanics returns a connection as one whose reading, writing and closing cannot panic. Those
// of package net are what they are. TLS calls functions of its tls.Config after the handshake too:
// the ClientSessionCache when the server sends tickets, which a Read finds.
func recoverPanics(conn net.Conn) net.Conn {
	switch conn := conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return conn
	case *tls.Conn:
		return recoveringTLS{&recoveringConn{Conn: conn, what: "the TLS connection"}}
	}
	return &recoveringConn{Conn: conn, what: "the connection of Config.Dial"}
}

// recoveringConn turns a panic in a method of a connection into an error. One that ends its
// goroutine cannot be kept from it: the connection is closed then, which whoever is at its other
// methods sees.
type recoveringConn struct {
	net.Conn
	what string // names it in errors
}

// recoveringTLS is one that speaks TLS on another connection.
type recoveringTLS struct{ *recoveringConn }

// NetConn is tls.Conn's.
func (g recoveringTLS) NetConn() net.Conn { return netConn(g.Conn) }

// netConn is the connection below TLS; nil if it does not speak TLS.
func netConn(conn net.Conn) net.Conn {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return nil
}

func (g *recoveringConn) Read(p []byte) (n int, err error) {
	err = g.call("Read", func() error {
		var err error
		n, err = g.Conn.Read(p)
		return err
	})
	return g.checkCount("Read", n, len(p), err)
}

func (g *recoveringConn) Write(p []byte) (n int, err error) {
	err = g.call("Write", func() error {
		var err error
		n, err = g.Conn.Write(p)
		return err
	})
	return g.checkCount("Write", n, len(p), err)
}

// checkCount refuses a count that no Read or Write can have.
func (g *recoveringConn) checkCount(method string, n, of int, err error) (int, error) {
	if n < 0 || n > of {
		return 0, errors.Join(fmt.Errorf("%s: %s returned %d of %d bytes", g.what, method, n, of), err)
	}
	return n, err
}

func (g *recoveringConn) SetDeadline(t time.Time) error {
	return g.call("SetDeadline", func() error { return g.Conn.SetDeadline(t) })
}

func (g *recoveringConn) SetReadDeadline(t time.Time) error {
	return g.call("SetReadDeadline", func() error { return g.Conn.SetReadDeadline(t) })
}

func (g *recoveringConn) SetWriteDeadline(t time.Time) error {
	return g.call("SetWriteDeadline", func() error { return g.Conn.SetWriteDeadline(t) })
}

func (g *recoveringConn) Close() error { return g.call("Close", g.Conn.Close) }

// call runs f, which is a method of the connection.
func (g *recoveringConn) call(method string, f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %s panicked: %s", g.what, method, errguard.Format(r))
		}
		if method != "Close" {
			err = errors.Join(err, g.Close())
		}
	}()
	err = errguard.Safe(f())
	returned = true
	return err
}
