package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Serve calls the sinks of this log's bus, and does the work that all Logs share: events that are
// due, retention, leases that were revoked and not given back.
func (l *Log) Serve(ctx context.Context) error {
	l.store.mu.Lock()
	switch {
	case l.closed:
		l.store.mu.Unlock()
		return fmt.Errorf("memory: %w", transport.ErrClosed)
	case l.served:
		l.store.mu.Unlock()
		return fmt.Errorf("%w: each bus needs a Connect of its own", transport.ErrInUse)
	}
	l.served = true
	l.store.logs[l] = struct{}{}
	l.serving.Add(1)
	l.store.mu.Unlock()
	defer l.serving.Done()

	l.serve(ctx)

	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.served = false
	delete(l.store.logs, l)
	if l.closed {
		return fmt.Errorf("memory: %w", transport.ErrClosed)
	}
	return nil
}

// serve returns when ctx has ended, or the log was closed.
func (l *Log) serve(ctx context.Context) {
	running := func() bool {
		select {
		case <-l.ended:
			return false
		default:
			return ctx.Err() == nil
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for running() {
		l.sinks.Deliver(running)
		if next, soon := l.store.work(); !next.IsZero() {
			timer.Reset(time.Until(next))
		} else if soon {
			continue
		}
		select {
		case <-l.sinks.Ready():
		case <-l.wake:
		case <-timer.C:
		case <-ctx.Done():
		case <-l.ended:
		}
	}
}

// notifyLocked has all that are served look for work.
func (s *logStore) notifyLocked() {
	for l := range s.logs {
		select {
		case l.wake <- struct{}{}:
		default: // it is to look already
		}
	}
}

// work does a step of what is due, and says when the next is: at a time, soon, or not before it is
// notified.
func (s *logStore) work() (next time.Time, soon bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.nowLocked()
	if s.addDueLocked(now) || s.trimLocked(now) {
		return time.Time{}, true
	}
	for _, t := range s.topics {
		for _, c := range t.consumers {
			c.expireLocked(now)
		}
	}
	earlier := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	earlier(s.schedule.next())
	for _, t := range s.topics {
		for _, p := range t.partitions {
			earlier(p.expires(now))
		}
		for _, c := range t.consumers {
			earlier(c.revokedBy())
		}
	}
	return next, false
}
