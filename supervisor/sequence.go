package supervisor

import (
	"math"
	"time"
)

// advance carries the sequence in progress as far as it can go now: of stops when the supervisor
// closes or a group restarts, else of starts.
func (st *state) advance(now time.Time) {
	switch {
	case st.phase == closing:
		if !st.stopNext(0, forShutdown, now) {
			st.finish(now)
		}
	case st.phase != serving:
	case st.group.active:
		if st.stopNext(st.group.from, forGroup, now) || !st.group.due {
			return
		}
		st.group.active = false
		for _, n := range st.nodes[st.index(st.group.from):] {
			n.enter(StatePending, now)
			st.queue = append(st.queue, n)
		}
		st.startNext(now)
	default:
		st.startNext(now)
	}
}

// startNext starts children in order, up to and including one that must become ready before those
// after it.
func (st *state) startNext(now time.Time) {
	for st.gate == nil && len(st.queue) > 0 {
		n := st.queue[0]
		st.queue[0] = nil
		st.queue = st.queue[1:]
		if n.state != StatePending {
			continue // removed meanwhile
		}
		st.start(n, now)
		if n.state == StateStarting {
			st.gate = n
		}
	}
	if st.gate == nil && !st.announced {
		st.announced = true
		st.act(action{do: doReady})
	}
}

// stopNext tells the last living child from id from on to stop, unless it was told already. It
// reports whether there is one to wait for. One at a time, and each only when all those after it
// have ended or are abandoned: a child may rely on those before it until it returns.
func (st *state) stopNext(from uint64, because why, now time.Time) bool {
	i := len(st.nodes) - 1
	if st.cursor < math.MaxUint64 {
		i = st.index(st.cursor+1) - 1
	}
	for ; i >= 0 && st.nodes[i].id >= from; i-- {
		n := st.nodes[i]
		st.cursor = n.id
		if !n.alive() {
			continue
		}
		if n.state != StateStopping {
			st.stop(n, because, now)
		}
		return true
	}
	return false
}

// regroup begins the restart of the group of n, which failed: all children under OneForAll, n and
// those after it under RestForOne. A restart in progress that n is not part of (so n comes before
// it) is taken over by the larger one.
func (st *state) regroup(n *node, now time.Time, delay time.Duration) {
	g := &st.group
	until := now.Add(delay)
	if g.active && g.until.After(until) {
		until = g.until
	}
	g.active, g.until, g.due = true, until, !until.After(now)
	g.from = n.id
	if st.strategy == OneForAll {
		g.from = 0
	}
	g.alarm++
	if !g.due {
		st.act(action{do: doArm, at: until, alarm: g.alarm})
	}
	st.queue, st.gate = nil, nil
	st.cursor = math.MaxUint64
}

// close begins the end of a Serve. The first cause counts.
func (st *state) close(now time.Time, cause error) {
	if st.phase != serving {
		return
	}
	st.phase, st.since, st.cause = closing, now, cause
	st.queue, st.gate = nil, nil
	st.group.active = false
	st.cursor = math.MaxUint64
	for _, n := range st.nodes {
		if n.state == StatePending || n.state == StateBackoff {
			n.enter(StateIdle, now)
		}
	}
}

// finish ends a Serve: no child is alive but those abandoned.
func (st *state) finish(now time.Time) {
	st.phase, st.since = resting, now
	paths := st.left
	st.left = nil
	for _, n := range st.nodes {
		if n.state == StateAbandoned {
			paths = append(paths, n.rule.Name)
		}
		paths = append(paths, n.left...)
	}
	err := st.cause
	if len(paths) > 0 {
		err = &AbandonedError{Paths: paths, Err: st.cause}
	}
	if st.cause != nil {
		st.act(action{do: doTell, kind: EventEscalated, incarnation: st.incarnation, err: err})
	}
	st.act(action{do: doTell, kind: EventStopped, incarnation: st.incarnation, err: err})
	st.act(action{do: doFinish, err: err})
}
