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

// logins keeps the open connections logged in: a password may end while a connection lives on, and with it goes what
// was subscribed there.
type logins struct {
	wake chan struct{} // capacity 1: there is a new connection, which may be the next

	mu sync.Mutex
	// mu guards open.
	open map[*openLogin]struct{}
}

// openLogin is a connection that is logged in.
type openLogin struct {
	l    *logins
	cfg  *Config // of servers, or of sentinels
	addr string
	auth func(ctx context.Context, words ...string) error // sends AUTH

	due  time.Time     // logins.mu guards it; zero: never
	turn chan struct{} // capacity 1: who holds it logs in
}

func newLogins() *logins {
	return &logins{wake: make(chan struct{}, 1), open: make(map[*openLogin]struct{})}
}

// newLogin returns what keeps a connection to addr logged in.
func (c *Config) newLogin(addr string) *openLogin {
	l := c.logins
	if l == nil {
		l = newLogins() // nobody serves it
	}
	return &openLogin{l: l, cfg: c, addr: addr, turn: make(chan struct{}, 1)}
}

// keep is keepBy for a connection of rueidis.
func (o *openLogin) keep(conn rueidis.CoreClient) (release func()) {
	return o.keepBy(func(ctx context.Context, words ...string) error {
		return conn.Do(ctx, conn.B().Arbitrary("AUTH").Args(words...).Build()).Error()
	})
}

// keepBy lists a connection, which logs in again by auth, until it is released.
func (o *openLogin) keepBy(auth func(ctx context.Context, words ...string) error) (release func()) {
	o.auth = auth
	o.l.mu.Lock()
	o.l.open[o] = struct{}{}
	o.l.mu.Unlock()
	o.l.signal()
	return func() {
		o.l.mu.Lock()
		defer o.l.mu.Unlock()
		delete(o.l.open, o)
	}
}

func (l *logins) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due returns the connections that are to log in again now, and when there are more; idle if that is not known.
func (l *logins) due(now time.Time) (due []*openLogin, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = idle
	for o := range l.open {
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
func (l *logins) schedule(o *openLogin, at time.Time) {
	l.mu.Lock()
	o.due = at
	l.mu.Unlock()
	l.signal()
}

// serve renews logins when they are due, until ctx ends. None waits for another.
func (l *logins) serve(ctx context.Context) error {
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
					l.schedule(o, time.Now().Add(coolDown()))
				}
			})
		}
	}
}

// defaultUser is who logs in with a password only.
const defaultUser = "default"

// renew logs a connection in again, and schedules the next time.
func (l *logins) renew(ctx context.Context, o *openLogin) error {
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.turn }()
	who, err := o.cfg.login(ctx, o.addr)
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
	l := t.cfg.logins
	l.mu.Lock()
	errs := make([]error, 0, len(l.open))
	var mu sync.Mutex
	var running sync.WaitGroup
	for o := range l.open {
		running.Go(func() {
			if err := l.renew(ctx, o); err != nil && l.lists(o) {
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

// lists reports whether a connection is still open as far as we know.
func (l *logins) lists(o *openLogin) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, listed := l.open[o]
	return listed
}
