package bus

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/supervisor"
)

// This file is how a subscription of a durable topic leaves the log.

// returnUnstarted has the lanes give back to the log what is not started, as the bus shuts down.
func (f *feeds[T]) returnUnstarted(s *subscription[T]) {
	fan := s.fan
	fan.mu.Lock()
	fd := f.byName[s.consumerName()]
	fan.mu.Unlock()
	if fd != nil {
		fd.returnAll()
	}
	s.returnWaiting()
}

// returnWaiting has the lanes give back what is not started: to the other members of a group, or to the log if
// that is to have it.
func (s *subscription[T]) returnWaiting() {
	s.ctl.Or(ctlReturning)
	for _, l := range s.made() {
		l.returnSoon()
	}
}

// leave takes s out of the fan-out, in order. What it had not started is given back.
func (f *feeds[T]) leave(ctx context.Context, s *subscription[T]) error {
	if err := f.begin(ctx); err != nil {
		s.leaveNow()
		return err
	}
	defer f.end()
	s.remove()
	if fd := f.closing(s); fd != nil {
		fd.returnAll()
	}
	s.returnWaiting()
	return nil
}

// release waits until all that s had started is in the log, and gives its leases back, if it was the
// last of its feed.
func (f *feeds[T]) release(ctx context.Context, s *subscription[T]) error {
	fd := f.closing(s)
	if fd == nil {
		return f.flush(ctx, s)
	}
	err := fd.released(ctx)
	if err != nil { // leftNow does the rest, in Config.Grace
		for _, partition := range s.held() {
			err = fmt.Errorf("%w; partition %d of %s: %w", err, partition, s.info.name, consumer.ErrNotReleased)
		}
		return fmt.Errorf("%w: %w", errNotReleased, err)
	}
	err = fd.closeOnce(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotReleased, err)
	}
	return nil
}

// flush waits until the outcomes of a subscription that leaves others behind are in the log.
func (f *feeds[T]) flush(ctx context.Context, s *subscription[T]) error {
	fan := s.fan
	fan.mu.Lock()
	fd := f.byName[s.consumerName()]
	fan.mu.Unlock()
	if fd == nil {
		return nil
	}
	c := fd.membership()
	if c == nil {
		return nil
	}
	if err := c.Flush(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNotReleased, err)
	}
	return nil
}

// closing is the feed that ends with s; nil if others go on with it, or it has ended.
func (f *feeds[T]) closing(s *subscription[T]) *feed[T] {
	fan := s.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if fd := f.byName[s.consumerName()]; fd != nil && fd.closing {
		return fd
	}
	return nil
}

// leftNow has the feed end beside everything else, after an abrupt end of s, if s was its last.
func (f *feeds[T]) leftNow(s *subscription[T]) {
	fd := f.closing(s)
	if fd == nil {
		s.returnWaiting()
		return
	}
	fd.returnAll()
	s.returnWaiting()
	until := time.Now().Add(s.core.grace)
	s.core.goroutines.cleanup(func(ctx context.Context) error {
		ctx, cancel := context.WithDeadlineCause(context.WithoutCancel(ctx), until, errGrace)
		defer cancel()
		// What handlers still do is to be in the log, those included whose place s took. When that takes too
		// long, the close says so.
		_ = s.core.changes.Wait(ctx, func() bool {
			s.fan.mu.Lock()
			defer s.fan.mu.Unlock()
			return len(fd.subs) == 0
		})
		last, end := context.WithDeadlineCause(context.WithoutCancel(ctx), later(until, time.Now().Add(min(s.core.grace, supervisor.HookGrace))), errGrace)
		defer end()
		if err := fd.closeOnce(last); err != nil {
			s.log().Warn("a subscription of a durable topic has ended without having released its partitions", zap.Error(errguard.Safe(err)))
		}
		return nil
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// closeOnce is close for whoever comes first; the others wait.
func (fd *feed[T]) closeOnce(ctx context.Context) error {
	fan := fd.fan
	fan.mu.Lock()
	first := !fd.ending
	fd.ending = true
	fan.mu.Unlock()
	if first {
		return fd.close(ctx)
	}
	select {
	case <-fd.closed:
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}
