package conn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// Reauther keeps the open connections logged in: a password may end while a connection lives on,
// and with it goes what was subscribed there.
type reauther struct {
	wake chan struct{} // capacity 1: there is a new connection, which may be the next

	mu sync.Mutex
	// mu guards open.
	conns map[*AuthConn]struct{}
}

// AuthConn is a connection that is logged in.
type AuthConn struct {
	Reauther *reauther
	cfg      *Settings
	addr     string
	auth     func(ctx context.Context, words ...string) error // sends AUTH

	due   time.Time     // reauther.mu guards it; zero: never
	token chan struct{} // capacity 1: who holds it logs in
}

// NewReauther returns one with no connections.
func NewReauther() *reauther {
	return &reauther{wake: make(chan struct{}, 1), conns: make(map[*AuthConn]struct{})}
}

// NewAuthConn returns what keeps a connection to addr logged in.
func (c *Settings) NewAuthConn(addr string) *AuthConn {
	l := c.Reauther
	if l == nil {
		l = NewReauther() // nobody serves it
	}
	return &AuthConn{Reauther: l, cfg: c, addr: addr, token: make(chan struct{}, 1)}
}

// track is keepBy for a connection of rueidis.
func (o *AuthConn) track(conn rueidis.CoreClient) (release func()) {
	return o.TrackWith(func(ctx context.Context, words ...string) error {
		return conn.Do(ctx, conn.B().Arbitrary("AUTH").Args(words...).Build()).Error()
	})
}

// TrackWith lists a connection, which logs in again by auth, until it is released.
func (o *AuthConn) TrackWith(auth func(ctx context.Context, words ...string) error) (release func()) {
	o.auth = auth
	o.Reauther.mu.Lock()
	o.Reauther.conns[o] = struct{}{}
	o.Reauther.mu.Unlock()
	o.Reauther.signal()
	return func() {
		o.Reauther.mu.Lock()
		defer o.Reauther.mu.Unlock()
		delete(o.Reauther.conns, o)
	}
}

func (l *reauther) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due returns the connections that are to log in again now, and when there are more; idle if that
// is not known.
func (l *reauther) due(now time.Time) (due []*AuthConn, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = noneDue
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

// Schedule sets when a connection is due again.
func (l *reauther) Schedule(o *AuthConn, at time.Time) {
	l.mu.Lock()
	o.due = at
	l.mu.Unlock()
	l.signal()
}

// Serve renews logins when they are due, until ctx ends. None waits for another.
func (l *reauther) Serve(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(Promptly)
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
					o.cfg.Logger.Warn("redis: a connection could not log in again and keeps its user",
						zap.String("addr", o.addr), zap.Error(err))
					l.Schedule(o, time.Now().Add(RefusedDelay()))
				}
			})
		}
	}
}

// noneDue is when a timer fires next that nothing is due for.
const noneDue = time.Hour

// DefaultUser is who logs in with a password only.
const DefaultUser = "default"

// renew logs a connection in again, and schedules the next time.
func (l *reauther) renew(ctx context.Context, o *AuthConn) error {
	select {
	case o.token <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.token }()
	who, err := o.cfg.LoginFor(ctx, o.addr)
	if err != nil {
		return fmt.Errorf("redis: log in again at %s: %w", o.addr, err)
	}
	if who.Password != "" {
		ctx, cancel := context.WithTimeout(ctx, o.cfg.CommandTimeout)
		defer cancel()
		if err := o.auth(ctx, cmp.Or(who.Username, DefaultUser), who.Password); err != nil {
			return fmt.Errorf("redis: log in again at %s: %w", o.addr, o.cfg.Explain(who.WithoutPassword(err)))
		}
	}
	l.Schedule(o, who.Renew)
	return nil
}

// RenewAll has every open connection log in again, now. An error names each that could not.
func (l *reauther) RenewAll(ctx context.Context) error {
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
func (l *reauther) tracks(o *AuthConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, listed := l.conns[o]
	return listed
}
