package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/bus/internal/runqueue"
	"github.com/shardbus/shardbus/supervisor"
)

// Drain ends the subscription after everything was handled: it accepts nothing any more, handles
// what it accepted, retries included, and returns nil when that is done. With a transport it first
// waits until it has what this bus published before the call; what has not come then is a Gap with
// the reason Ended, and in the error. When ctx ends first, handler contexts are cancelled, what
// waits is abandoned at once, and the error says how much, and how many handlers still run, as
// Stats does. From a handler or the OnGap of this subscription it returns ErrWouldDeadlock.
//
// Of a durable topic it finishes what its handlers have started. All else is returned to the log, or to the
// other members of its group, retries included, and their times stay. Drain returns nil when the log has
// every outcome and, if no other subscription here goes on with them, its partitions back. When ctx ends
// first, the error names the partitions that were not released: what was being handled there comes again.
func (s *Subscription) Drain(ctx context.Context) error {
	fail := func(err error, detail string) error {
		return &Error{Op: "drain", Topic: s.info.name, Subscription: s.name, Err: err, Detail: detail}
	}
	if ctx == nil {
		return fail(ErrNilContext, "")
	}
	if r := s.core.runnerHere(); r != nil && r.subscription() == s {
		return fail(ErrWouldDeadlock, r.role()+" can't wait for its own subscription to drain; call it from another goroutine")
	}
	var lateErr error
	if s.info.remote {
		lateErr = s.engine.catchUp(ctx)
	}
	missed, leaveErr := s.engine.leave(ctx)
	for _, g := range missed {
		s.reportGap(g)
	}
	s.ctl.Or(ctlLeft)
	s.Resume()
	s.release()
	err := s.core.changes.Wait(ctx, func() bool { return s.Stats().Pending() == 0 })
	if s.info.durable && err == nil {
		leaveErr = errors.Join(leaveErr, s.engine.releaseLog(ctx))
	}
	held := ""
	if s.info.durable && err != nil {
		held = describeHeld([]*Subscription{s})
	}
	ctx, release := s.core.unlessEnded(ctx)
	defer release()
	s.stop(nil)
	if err != nil {
		// What was handled by now was handled in time.
		if st := s.Stats(); st.Abandoned+st.Running > 0 {
			return fail(err, strings.TrimSuffix(leftBehind(st)+"; "+held, "; "))
		}
		if held != "" {
			return fail(err, held)
		}
	}
	if err := s.awaitEnd(ctx); err != nil {
		return fail(err, "everything accepted was handled, but actors have not stopped")
	}
	if n := s.Stats().Abandoned; n > 0 {
		return fail(errors.Join(ErrClosed, s.Err()), fmt.Sprintf("it was ended meanwhile and abandoned %d events", n))
	}
	if lateErr != nil {
		return fail(lateErr, "everything else was handled")
	}
	if err := s.core.changes.Wait(ctx, s.gapsTold); err != nil {
		return fail(err, "everything accepted was handled, but OnGap has not been told of every gap")
	}
	switch {
	case leaveErr == nil:
	case s.info.durable:
		return fail(leaveErr, "everything that was started was handled")
	default:
		return fail(leaveErr, "everything accepted was handled, but the transport did not unsubscribe")
	}
	return nil
}

// leftBehind says what a subscription that was stopped abandoned, and what still runs.
func leftBehind(st Stats) string {
	text := fmt.Sprintf("%d events abandoned", st.Abandoned)
	if st.Running > 0 {
		text += fmt.Sprintf(", %d still running", st.Running)
	}
	return text
}

// awaitEnd waits until a subscription that was stopped with nothing pending has ended. Its lanes
// only have to say so, whatever ctx says, unless there are actors: their Stop is user code, and may
// outlast ctx.
func (s *Subscription) awaitEnd(ctx context.Context) error {
	if !s.actors {
		<-s.Done()
		return nil
	}
	select {
	case <-s.Done():
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

// Stop ends the subscription abruptly: it accepts nothing any more, the contexts of its handlers are
// cancelled, and what waits is abandoned and counted so. It does not wait: Done is closed when no
// handler runs any more. A handler may stop its own subscription. Stopping again, or after Drain,
// does nothing. [Subscription.Drain] ends it in order, and returns ErrClosed when Stop came first. Of a
// durable topic what waits is returned to the log; what was being handled comes again.
func (s *Subscription) Stop() { s.stop(nil) }

// stop ends the subscription at once: handler contexts end, what waits is abandoned. It does not
// wait. It reports whether this call stopped it: the first err stays.
func (s *Subscription) stop(err error) bool {
	s.mu.Lock()
	stopped := s.mu.stopped
	s.mu.stopped = true
	if !stopped && err != nil {
		s.incidentsLocked().err = err
	}
	s.mu.Unlock()
	if stopped {
		return false
	}
	s.ctl.Or(ctlLeft)
	s.engine.leaveNow()
	s.engine.closeLanes()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.cancel != nil {
		s.mu.cancel(ErrClosed)
	}
	return true
}

// userRunner is what the run queue of a bus runs: a lane, or a call of OnGap.
type userRunner interface {
	runqueue.Runner
	subscription() *Subscription
	role() string // names the user's function that it calls
}

// runnerHere is the one of this bus on whose goroutine the caller runs, or nil.
func (c *core) runnerHere() userRunner {
	r, _ := c.runQueue.Here().(userRunner)
	return r
}

var errGrace = errors.New("grace is over")

// unlessEnded is ctx, unless it is that of a handler of this bus, which ends when its subscription
// does: then it is one that goes on for a while, for the rest of an end.
func (c *core) unlessEnded(ctx context.Context) (context.Context, context.CancelFunc) {
	if l := callerLane(ctx); l == nil || l.core != c {
		return ctx, func() {}
	}
	bound := time.Now().Add(c.grace + 2*supervisor.HookGrace)
	if end, ok := ctx.Deadline(); ok && end.Before(bound) {
		bound = end
	}
	return context.WithDeadlineCause(context.WithoutCancel(ctx), bound, errGrace)
}
