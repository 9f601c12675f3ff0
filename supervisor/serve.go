package supervisor

import (
	"context"
	"time"
)

// Serve starts the children and supervises them until ctx ends or the supervisor has a reason of
// its own to give up. Either way it then stops the children, in reverse order, each within its
// grace, and returns when all have ended or are Abandoned. It returns
//
//   - nil if ctx ended, or if AutoShutdown ended it with no failure;
//   - *TooManyRestarts if one failure was too many;
//   - *EscalateError if a child escalated;
//   - *AbandonedError, around one of these or alone, if anything is still running;
//   - ErrServing, without doing anything, if another Serve has not returned.
//
// It may be called again after it has returned, as a supervisor above does. Every child listed is
// then started anew, with a new budget of restarts; incarnations count on. A child that is
// Abandoned is not started while it still runs: under OneForOne it follows when it has ended, under
// the other strategies Serve fails.
//
// If ctx is that of a child with AwaitReady, Serve calls Ready with it when all children were
// started, those with AwaitReady successfully.
func (s *Supervisor) Serve(ctx context.Context) error {
	over, err := s.open(ctx)
	if err != nil || over == nil {
		return err
	}
	s.loop(ctx, over)
	told := s.notifier.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = false
	err = s.result
	s.result, s.ctx, s.values = nil, nil, nil
	if !told {
		left := &AbandonedError{Hook: true, Err: err}
		if below, ok := err.(*AbandonedError); ok { //nolint:errorlint // ours is never wrapped
			left.Paths, left.Err = below.Paths, below.Err
		}
		err = left
	}
	s.state.lastErr = err
	return err
}

// open begins a Serve. It returns no channel if there is nothing to do.
func (s *Supervisor) open(ctx context.Context) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.serving:
		return nil, ErrServing
	case ctx.Err() != nil:
		return nil, nil
	}
	s.serving = true
	s.ctx, s.values = ctx, context.WithoutCancel(ctx)
	s.path = pathOf(ctx, s.spec.Name)
	over := make(chan struct{})
	s.over = over
	s.awakenLocked("", true)
	s.applyLocked(input{what: inServe})
	return over, nil
}

// loop waits on behalf of the supervisor: for the end of ctx and for alarms.
func (s *Supervisor) loop(ctx context.Context, over <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stop := ctx.Done()
	for {
		if wait, set := s.nextAlarm(); set {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-over:
			return
		case <-stop:
			stop = nil
			s.mu.Lock()
			s.yieldLocked()
			s.mu.Unlock()
		case <-s.poke:
		case <-timer.C:
			s.ringDue()
		}
	}
}

// promptly is how long a timer takes that is to fire at once: one of zero, or less, may crash the
// race detector in a synctest bubble, see docs/testing.md.
const promptly = time.Nanosecond

// nextAlarm returns how long the loop may sleep.
func (s *Supervisor) nextAlarm() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.alarms) == 0 {
		s.ring = time.Time{}
		return 0, false
	}
	s.ring = s.alarms[0].at
	return max(promptly, time.Until(s.ring)), true
}

// ringDue rings every alarm that is due.
func (s *Supervisor) ringDue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for {
		a, ok := s.alarms.due(now)
		if !ok {
			return
		}
		s.applyLocked(input{what: inAlarm, node: a.node, alarm: a.gen})
	}
}

// yieldLocked begins the shutdown if the context of Serve has ended. Whoever has any other news
// calls it first, so that nothing is started after that moment because the loop was slower to
// notice.
func (s *Supervisor) yieldLocked() {
	if s.serving && s.state.phase == serving && s.ctx.Err() != nil {
		s.stepLocked(input{what: inClose})
	}
}

// applyLocked tells the core what happened and does what it decides.
func (s *Supervisor) applyLocked(in input) {
	s.yieldLocked()
	s.stepLocked(in)
}

func (s *Supervisor) stepLocked(in input) {
	in.now = time.Now()
	for _, a := range s.step(&s.state, in) {
		s.doLocked(a, in.now)
	}
}

func (s *Supervisor) doLocked(a action, now time.Time) {
	switch a.do {
	case doStart:
		s.startLocked(s.children[a.node.rule.Name], a.incarnation)
	case doCancel:
		s.children[a.node.rule.Name].cancel(a.err)
	case doArm:
		s.alarms.set(alarm{at: a.at, node: a.node, gen: a.alarm}, len(s.children))
		if s.ring.IsZero() || a.at.Before(s.ring) {
			s.ring = a.at
			s.poke.Notify()
		}
	case doTell:
		s.tellLocked(a, now)
	case doDrop:
		s.dropLocked(a.node)
	case doReply:
		s.replyLocked(a)
	case doReady:
		// The lock of the supervisor below comes before that of the one above. They are never one:
		// a context of one of its own children, left from an earlier Serve, has nobody to tell.
		if r, ok := s.ctx.Value(runKey{}).(*run); !ok || r.owner != s {
			Ready(s.ctx)
		}
	case doFinish:
		s.alarms, s.ring = nil, time.Time{}
		s.result = a.err
		close(s.over)
	}
}

func (s *Supervisor) tellLocked(a action, now time.Time) {
	s.seq++
	if s.notifier.hook == nil {
		return
	}
	e := Event{
		Seq: s.seq, Time: now, Kind: a.kind, Path: s.path,
		Incarnation: a.incarnation, Delay: a.delay, Err: a.err,
	}
	if a.node != nil {
		e.Child = a.node.rule.Name
		e.Path += "/" + e.Child
	}
	s.notifier.post(e)
}
