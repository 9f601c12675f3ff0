package supervisor

import "time"

// afterwards lets f spoil the state after each step. What f decides is done too.
func afterwards(f func(*state, input)) func(*state, input) []action {
	return func(st *state, in input) []action {
		step(st, in)
		f(st, in)
		return st.actions
	}
}

// exiting replaces the step for the ends of children.
func exiting(f func(*state, input) []action) func(*state, input) []action {
	return func(st *state, in input) []action {
		if in.what == inExit {
			return f(st, in)
		}
		return step(st, in)
	}
}

// exits lets f spoil what is known of the end of a child.
func exits(f func(*node, *input)) func(*state, input) []action {
	return exiting(func(st *state, in input) []action {
		rule := in.node.rule
		f(in.node, &in)
		defer func() { in.node.rule = rule }()
		return step(st, in)
	})
}

// ruled lets f spoil the rules of a child while its end is judged.
func ruled(f func(*Child)) func(*state, input) []action {
	return exits(func(n *node, _ *input) { f(&n.rule) })
}

// limited lets f spoil the limit of restarts.
func limited(f func(*restartWindow)) func(*state, input) []action {
	return func(st *state, in input) []action {
		defer func(limit int, span time.Duration) { st.window.limit, st.window.span = limit, span }(st.window.limit, st.window.span)
		f(&st.window)
		return step(st, in)
	}
}

// as takes one strategy for another when a child ends.
func as(is, taken Strategy) func(*state, input) []action {
	return exiting(func(st *state, in input) []action {
		if st.strategy != is {
			return step(st, in)
		}
		st.strategy = taken
		defer func() { st.strategy = is }()
		return step(st, in)
	})
}

// arming changes how long the alarms of children in a certain state take.
func arming(s State, f func(time.Duration) time.Duration) func(*state, input) []action {
	return func(st *state, in input) []action {
		acts := step(st, in)
		for i, a := range acts {
			if a.do == doArm && a.node != nil && a.node.state == s {
				acts[i].at = in.now.Add(f(a.at.Sub(in.now)))
			}
		}
		return acts
	}
}

// deaf ignores the alarms of children in a certain state.
func deaf(s State) func(*state, input) []action {
	return func(st *state, in input) []action {
		if in.what == inAlarm && in.node != nil && in.node.state == s {
			return nil
		}
		return step(st, in)
	}
}
