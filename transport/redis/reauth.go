package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"go.uber.org/zap"
)

// reauther keeps the open connections logged in: a password may end while a connection lives on, and with it goes what
// was subscribed there.
type reauther struct {
	wake chan struct{} // capacity 1: there is a new connection, which may be the next

	mu sync.Mutex
	// mu guards open.
	conns map[*authConn]struct{}
}

// authConn is a connection that is logged in.
type authConn struct {
	reauther *reauther
	cfg      *Config // of servers, or of sentinels
	addr     string
	auth     func(ctx context.Context, words ...string) error // sends AUTH

	due   time.Time     // logins.mu guards it; zero: never
	token chan struct{} // capacity 1: who holds it logs in
}

func newReauther() *reauther {
	return &reauther{wake: make(chan struct{}, 1), conns: make(map[*authConn]struct{})}
}

// newAuthConn returns what keeps a connection to addr logged in.
func (c *Config) newAuthConn(addr string) *authConn {
	l := c.reauther
	if l == nil {
		l = newReauther() // nobody serves it
	}
	return &authConn{reauther: l, cfg: c, addr: addr, token: make(chan struct{}, 1)}
}

// track is keepBy for a connection of rueidis.
func (o *authConn) track(conn rueidis.CoreClient) (release func()) {
	return o.trackWith(func(ctx context.Context, words ...string) error {
		return conn.Do(ctx, conn.B().Arbitrary("AUTH").Args(words...).Build()).Error()
	})
}

// trackWith lists a connection, which logs in again by auth, until it is released.
func (o *authConn) trackWith(auth func(ctx context.Context, words ...string) error) (release func()) {
	o.auth = auth
	o.reauther.mu.Lock()
	o.reauther.conns[o] = struct{}{}
	o.reauther.mu.Unlock()
	o.reauther.signal()
	return func() {
		o.reauther.mu.Lock()
		defer o.reauther.mu.Unlock()
		delete(o.reauther.conns, o)
	}
}

func (l *reauther) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due returns the connections that are to log in again now, and when there are more; idle if that is not known.
func (l *reauther) due(now time.Time) (due []*authConn, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = idle
	for o := range l.conns {
		switch {
		case o.due.IsZero():
		case o.due.After(now):
			next = min(next, o.due.Sub(now))
		default:
			o.due = time.Time{}
			due = append(due, o)
		}
	}
	return due, next
}

// schedule sets when a connection is due again.
func (l *reauther) schedule(o *authConn, at time.Time) {
	l.mu.Lock()
	o.due = at
	l.mu.Unlock()
	l.signal()
}

// serve renews logins when they are due, until ctx ends. None waits for another.
func (l *reauther) serve(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(promptly)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-timer.C:
		}
		due, next := l.due(time.Now())
		timer.Reset(next)
		for _, o := range due {
			running.Go(func() {
				if err := l.renew(ctx, o); err != nil && ctx.Err() == nil {
					// The connection stays: until the server closes it, it is who it was.
					o.cfg.Logger.Warn("redis: a connection could not log in again, it goes on as it was",
						zap.String("addr", o.addr), zap.Error(err))
					l.schedule(o, time.Now().Add(refusedDelay()))
				}
			})
		}
	}
}

// defaultUser is who logs in with a password only.
const defaultUser = "default"

// renew logs a connection in again, and schedules the next time.
func (l *reauther) renew(ctx context.Context, o *authConn) error {
	select {
	case o.token <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.token }()
	who, err := o.cfg.credentialsFor(ctx, o.addr)
	if err != nil {
		return fmt.Errorf("redis: log in again at %s: %w", o.addr, err)
	}
	if who.Password != "" {
		ctx, cancel := context.WithTimeout(ctx, o.cfg.CommandTimeout)
		defer cancel()
		if err := o.auth(ctx, cmp.Or(who.Username, defaultUser), who.Password); err != nil {
			return fmt.Errorf("redis: log in again at %s: %w", o.addr, o.cfg.explain(who.withoutPassword(err)))
		}
	}
	l.schedule(o, who.Renew)
	return nil
}

// Reauthenticate has every open connection ask Config.Credentials and log in again, now; what is subscribed stays.
// Call it when a password or user is about to be replaced: when it returns nil, what was valid before may be removed.
// An error names each connection that could not; it goes on as who it was. Connections that are made later ask
// Config.Credentials anyway.
func (t *Transport) Reauthenticate(ctx context.Context) error {
	if t.isClosed() {
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	}
	l := t.cfg.reauther
	l.mu.Lock()
	errs := make([]error, 0, len(l.conns))
	var mu sync.Mutex
	var running sync.WaitGroup
	for o := range l.conns {
		running.Go(func() {
			if err := l.renew(ctx, o); err != nil && l.tracks(o) {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	l.mu.Unlock()
	running.Wait()
	return errors.Join(errs...)
}

// tracks reports whether a connection is still open as far as we know.
func (l *reauther) tracks(o *authConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, listed := l.conns[o]
	return listed
}
