package redis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// misdeeds are what a user's function may do instead of returning, and what the error must say then.
var misdeeds = []struct {
	name, says string
	do         func(ctx context.Context)
}{
	{"panics", "panicked: boom", func(context.Context) { panic("boom") }},
	{"ends its goroutine", "called runtime.Goexit", func(context.Context) { runtime.Goexit() }},
	{"ignores its context", "has not returned although its context has ended", func(ctx context.Context) {
		<-ctx.Done()
		time.Sleep(time.Minute)
	}},
}

// TestUserFunctionsOfConnections: a Config.Dial and a Config.Credentials that misbehave are connections that failed, with
// the reason in the error; when they behave again, everything works again.
func TestUserFunctionsOfConnections(t *testing.T) {
	for _, m := range misdeeds {
		for _, which := range []string{"Config.Dial", "Config.Credentials"} {
			t.Run(which+" "+m.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := fakecluster.New(t, fakecluster.Config{Primaries: 1})
					var bad atomic.Bool
					misbehave := func(ctx context.Context, name string) {
						if name == which && bad.Load() {
							m.do(ctx)
						}
					}
					cfg := redis.Config{
						Addrs: []string{c.Nodes()[0].Addr()},
						Dial: func(ctx context.Context, addr string) (net.Conn, error) {
							misbehave(ctx, "Config.Dial")
							return c.Dial(ctx, addr)
						},
						Credentials: func(ctx context.Context, _ string) (redis.Credentials, error) {
							misbehave(ctx, "Config.Credentials")
							return redis.Credentials{}, nil
						},
					}
					bad.Store(true)
					if _, err := redis.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), which+" "+m.says) {
						t.Errorf("Open: %v", err)
					}
					bad.Store(false)
					time.Sleep(2 * time.Minute)

					n := serve(t, cfg)
					n.subscribe(t, transport.Topic{Name: "a"})
					bad.Store(true)
					node := c.Nodes()[0]
					c.Kill(node)
					c.Restart(node)
					time.Sleep(5 * time.Second)
					bad.Store(false)
					time.Sleep(2 * time.Minute)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if res := n.publish(ctx, transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil {
						t.Fatal(res.Err)
					}
					n.await(t, "the event", func() bool { return len(n.events) == 1 })
					n.stop()
				})
			})
		}
	}
}

// TestDialReturnsNothing: neither a connection nor an error is no connection.
func TestDialReturnsNothing(t *testing.T) {
	_, err := redis.Open(t.Context(), redis.Config{Addrs: []string{"192.0.2.1:1"},
		Dial: func(context.Context, string) (net.Conn, error) { return nil, nil }})
	if !errors.Is(err, redis.ErrUnreachable) || !strings.Contains(err.Error(), "neither a connection nor an error") {
		t.Errorf("%v", err)
	}
}

// TestDialReturnsATypedNil: nor is an error whose methods panic.
func TestDialReturnsATypedNil(t *testing.T) {
	_, err := redis.Open(t.Context(), redis.Config{Addrs: []string{"192.0.2.1:1"},
		Dial: func(context.Context, string) (net.Conn, error) {
			var e *net.OpError
			return nil, e
		}})
	if !errors.Is(err, redis.ErrUnreachable) || !strings.Contains(err.Error(), "a nil *net.OpError was returned as an error") {
		t.Errorf("%v", err)
	}
}

// treacherous is a connection whose Read panics, once it shall.
type treacherous struct {
	net.Conn
	now *atomic.Bool
}

func (c treacherous) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.now.Load() {
		panic("in Read")
	}
	return n, err
}

// TestConnectionsOfDialPanic: a panic in a connection's own method ends that connection, not the process.
func TestConnectionsOfDialPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(t, fakecluster.Config{Primaries: 1})
		var now atomic.Bool
		n := serve(t, redis.Config{Addrs: []string{c.Nodes()[0].Addr()},
			Dial: func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := c.Dial(ctx, addr)
				return treacherous{conn, &now}, err
			}})
		n.subscribe(t, transport.Topic{Name: "a"})
		now.Store(true)
		time.Sleep(5 * time.Second)
		now.Store(false)
		time.Sleep(5 * time.Second)
		if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil {
			t.Fatal(res.Err)
		}
		n.await(t, "the event", func() bool { return len(n.events) == 1 })
		n.stop()
	})
}

// TestTLSFunctionsPanic: what a tls.Config calls is user code, too, with Config.Dial and without.
func TestTLSFunctionsPanic(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{TLS: true})
	for _, own := range []bool{false, true} {
		secure := s.TLSConfig()
		secure.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { panic("in TLS") }
		cfg := redis.Config{Addrs: []string{s.Addr()}, TLS: secure}
		if own {
			cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			}
		}
		if _, err := redis.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "panicked: in TLS") {
			t.Errorf("own Dial %v: %v", own, err)
		}
	}
}

// forgetfulCache is a tls.ClientSessionCache that panics when it is given a ticket, which comes after the handshake.
type forgetfulCache struct{}

func (forgetfulCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (forgetfulCache) Put(string, *tls.ClientSessionState)        { panic("in the cache") }

// TestTLSFunctionsPanicLater: nor does one that is called when the connection is in use end more than that connection.
func TestTLSFunctionsPanicLater(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{TLS: true})
	for name, dial := range map[string]func(ctx context.Context, addr string, secure *tls.Config) (net.Conn, error){
		"no Dial": nil,
		"a Dial of TCP": func(ctx context.Context, addr string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		"a Dial of TLS": func(ctx context.Context, addr string, secure *tls.Config) (net.Conn, error) {
			return (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", addr)
		},
	} {
		secure := s.TLSConfig()
		config := func(secure *tls.Config) redis.Config {
			cfg := redis.Config{Addrs: []string{s.Addr()}, TLS: secure}
			if dial != nil {
				cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, addr, secure) }
			}
			if name == "a Dial of TLS" {
				cfg.TLS = nil
			}
			return cfg
		}
		n := serve(t, config(secure)) // it works
		n.subscribe(t, transport.Topic{Name: "a"})
		if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil {
			t.Fatalf("%s: %v", name, res.Err)
		}
		n.await(t, "the event", func() bool { return len(n.events) == 1 })
		n.stop()
		secure = secure.Clone()
		secure.ClientSessionCache = forgetfulCache{}
		if _, err := redis.Open(t.Context(), config(secure)); err == nil || !strings.Contains(err.Error(), "panicked: in the cache") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
