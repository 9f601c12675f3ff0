package supervisor

import "time"

// step takes every decision of this package. It changes st by what happened and returns what shall
// be done about it, in order. The result depends on st and in only. The slice is valid until the
// next step.
func step(st *state, in input) []action {
	st.actions = st.actions[:0]
	switch n := in.node; in.what {
	case inServe:
		st.serve(in.now)
	case inClose:
		st.close(in.now, nil)
	case inAdd:
		st.add(n, in.now)
	case inRemove:
		st.remove(n, in.now)
	case inReady:
		if n.state == StateStarting && n.incarnation == in.incarnation {
			st.ready(n, in.now)
		}
	case inExit:
		// Each incarnation ends once, and the next is not started before.
		st.exit(n, in)
	case inAlarm:
		st.ring(in)
	}
	st.advance(in.now)
	return st.actions
}

// serve begins a Serve: every child is started in order. A child that an earlier Serve had to
// abandon is not started beside itself: it waits for that incarnation to end, and under a group
// strategy, where it cannot be left out, the supervisor escalates.
func (st *state) serve(now time.Time) {
	st.phase, st.since, st.cause, st.left = serving, now, nil, nil
	st.incarnation++
	st.window.clear()
	st.restarts, st.announced = 0, false
	for _, n := range st.nodes {
		n.delays.reset()
		if n.state == StateAbandoned {
			n.why = forShutdown
			if st.strategy != OneForOne {
				st.close(now, &EscalateError{Supervisor: st.name, Child: n.rule.Name, Err: ErrOutlivedGrace})
				return
			}
			continue
		}
		n.enter(StatePending, now)
		st.queue = append(st.queue, n)
	}
}

func (st *state) add(n *node, now time.Time) {
	st.insert(n)
	if st.phase != serving {
		return
	}
	n.enter(StatePending, now)
	if !st.group.active { // else the group takes it along
		st.queue = append(st.queue, n)
	}
}

func (st *state) remove(n *node, now time.Time) {
	switch n.state {
	case StateStarting, StateRunning:
		n.leaving = true
		if st.phase == closing || st.group.has(n) {
			return // its turn in the sequence of stops comes
		}
		if st.gate == n {
			st.gate = nil
		}
		st.stop(n, forRemove, now)
	case StateStopping:
		n.leaving = true
	case StateAbandoned:
		n.leaving = true
		st.act(action{do: doReply, node: n, err: abandonedAt(n)})
	default:
		st.part(n, now, nil)
	}
}

// part drops a child whose removal was asked for, and says so.
func (st *state) part(n *node, now time.Time, err error) {
	n.leaving = true
	st.act(action{do: doReply, node: n, err: err})
	st.drop(n, now)
}

func (st *state) ready(n *node, now time.Time) {
	n.enter(StateRunning, now)
	n.up = now
	if st.gate == n {
		st.gate = nil
	}
	st.tell(EventReady, n, nil)
}

// exit handles the end of a child's Serve.
func (st *state) exit(n *node, in input) {
	n.left = in.left
	switch n.state {
	case StateStarting, StateRunning:
		if in.out != done {
			n.note(in.err)
		}
		st.tell(EventExited, n, in.err)
		switch {
		case n.leaving:
			st.part(n, in.now, in.orphans())
		case st.phase == closing:
			st.suspend(n, in.now)
		default:
			st.ended(n, in)
		}
	case StateStopping, StateAbandoned:
		st.obeyed(n, in)
	default: // it had not been started
	}
}

// orphans is what Remove returns for a child that ended: its error, if that says that something
// below is still running.
func (in *input) orphans() error {
	if len(in.left) == 0 {
		return nil
	}
	return in.err
}

// obeyed handles the end of a child that was told to stop.
func (st *state) obeyed(n *node, in input) {
	if n.why == forTimeout {
		in.out, in.err = failed, ErrStartTimeout
		n.note(in.err)
		st.tell(EventExited, n, in.err)
	} else {
		st.tell(EventStopped, n, in.err)
	}
	switch {
	case n.leaving:
		st.part(n, in.now, in.orphans())
	case st.phase != serving:
		st.suspend(n, in.now)
	case st.group.has(n):
		st.rejoin(n, in.now)
	case n.why == forTimeout:
		st.ended(n, in)
	default:
		// Abandoned by an earlier Serve; now there is room for it in this one. Like a restart, that
		// is no part of the sequence of starts.
		st.rejoin(n, in.now)
		if n.state == StatePending {
			st.start(n, in.now)
		}
	}
}

// suspend keeps a child that ended down until the next Serve.
func (st *state) suspend(n *node, now time.Time) {
	if n.rule.Restart == Temporary {
		st.forget(n, now)
		return
	}
	n.enter(StateIdle, now)
}

// rejoin makes a child that ended wait to be started again. As in OTP, a Temporary child is not,
// not even with its group.
func (st *state) rejoin(n *node, now time.Time) {
	if n.rule.Restart == Temporary {
		st.forget(n, now)
		return
	}
	n.enter(StatePending, now)
}

// forget drops a Temporary child that ended, but not what it left behind.
func (st *state) forget(n *node, now time.Time) {
	st.left = append(st.left, n.left...)
	st.drop(n, now)
}

// ended handles a child that ended by itself, or was not ready in time.
func (st *state) ended(n *node, in input) {
	if in.out == escalated {
		n.enter(StateStopped, in.now)
		st.close(in.now, &EscalateError{Supervisor: st.name, Child: n.rule.Name, Err: in.err})
		return
	}
	if restarts(n.rule.Restart, in.out) {
		if st.group.has(n) {
			st.rejoin(n, in.now) // that restart is counted already
			return
		}
		st.fail(n, in)
		return
	}
	if st.gate == n {
		st.gate = nil
	}
	if n.rule.Restart == Temporary {
		st.forget(n, in.now)
	} else {
		n.enter(StateStopped, in.now)
	}
	if n.rule.Significant && st.fulfilled() {
		var cause error
		if in.out == failed {
			cause = &EscalateError{Supervisor: st.name, Child: n.rule.Name, Err: in.err}
		}
		st.close(in.now, cause)
	} else if n.state == StateStopped && st.group.has(n) {
		st.rejoin(n, in.now)
	}
}

// restarts reports whether a child of restart type r is restarted after out.
func restarts(r Restart, out outcome) bool {
	switch r {
	case Permanent:
		return out != done
	case Transient:
		return out == failed
	default:
		return false
	}
}

// fulfilled reports whether the supervisor ends, now that a significant child has.
func (st *state) fulfilled() bool {
	switch st.auto {
	case Never:
	case AnySignificant:
		return true
	case AllSignificant:
		for _, n := range st.nodes {
			if n.rule.Significant && n.state != StateStopped {
				return false
			}
		}
		return true
	}
	return false
}

// fail decides on the restart of a child that failed.
func (st *state) fail(n *node, in input) {
	if !st.window.admit(in.now) {
		n.enter(StateStopped, in.now)
		st.close(in.now, &TooManyRestarts{
			Supervisor: st.name, Child: n.rule.Name, Err: in.err,
			MaxRestarts: max(0, st.window.limit), Within: st.window.span,
		})
		return
	}
	st.restarts++
	if b := n.rule.Backoff; !n.up.IsZero() && in.now.Sub(n.up) >= b.ResetAfter {
		n.delays.reset()
	}
	delay := n.delays.next(n.rule.Backoff, in.roll)
	n.enter(StateBackoff, in.now)
	st.act(action{do: doTell, kind: EventBackoff, node: n, incarnation: n.incarnation, delay: delay, err: in.err})
	if st.strategy == OneForOne {
		if st.gate == n {
			st.gate = nil
		}
		if delay == 0 {
			st.start(n, in.now)
			return
		}
		st.arm(n, in.now, delay)
		return
	}
	st.regroup(n, in.now, delay)
}

// note remembers the last failure.
func (n *node) note(err error) {
	if err != nil {
		n.lastErr = err
	}
}

// start starts the next incarnation of n.
func (st *state) start(n *node, now time.Time) {
	n.incarnation++
	n.left = nil
	n.enter(StateRunning, now)
	n.up = now
	st.act(action{do: doStart, node: n, incarnation: n.incarnation})
	st.tell(EventStarted, n, nil)
	if n.rule.AwaitReady {
		n.state = StateStarting
		n.up = time.Time{} // not up before it is ready
		st.arm(n, now, n.rule.StartTimeout)
	}
}

// stop tells n to stop.
func (st *state) stop(n *node, because why, now time.Time) {
	n.enter(StateStopping, now)
	n.why = because
	st.act(action{do: doCancel, node: n, err: because.cause()})
	st.arm(n, now, n.rule.Grace)
}

// cause is what the child sees as context.Cause.
func (w why) cause() error {
	switch w {
	case forRemove:
		return errRemoved
	case forGroup:
		return errGroup
	case forTimeout:
		return ErrStartTimeout
	default:
		return errShutdown
	}
}

// ring handles an alarm, unless it was overtaken by something else.
func (st *state) ring(in input) {
	n := in.node
	if n == nil {
		if st.group.active && st.group.alarm == in.alarm {
			st.group.due = true
		}
		return
	}
	if n.alarm != in.alarm {
		return
	}
	switch n.state {
	case StateBackoff:
		st.start(n, in.now)
	case StateStarting:
		if st.phase == closing || st.group.has(n) {
			return // its turn in the sequence of stops comes
		}
		if st.gate == n && st.strategy == OneForOne {
			st.gate = nil
		}
		st.stop(n, forTimeout, in.now)
	case StateStopping:
		st.abandon(n, in.now)
	default: // the others set no alarm
	}
}

// abandon gives up on a child that outlived its grace.
func (st *state) abandon(n *node, now time.Time) {
	n.enter(StateAbandoned, now)
	st.tell(EventAbandoned, n, nil)
	if n.leaving {
		st.act(action{do: doReply, node: n, err: abandonedAt(n)})
	}
	if st.phase == serving && st.strategy != OneForOne {
		st.close(now, &EscalateError{Supervisor: st.name, Child: n.rule.Name, Err: ErrOutlivedGrace})
	}
}

func abandonedAt(n *node) error { return &AbandonedError{Paths: []string{n.rule.Name}} }
