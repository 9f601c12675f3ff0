package supervisor

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutations are the mistakes that a supervisor might make, one at a time, each put around step. The
// model and the invariants must catch every one of them: that is what makes them evidence.
var mutations = []struct {
	name string
	step func(*state, input) []action
}{
	// Restart types.
	{"restarts a Temporary child", ruled(func(c *Child) {
		if c.Restart == Temporary {
			c.Restart = Permanent
		}
	})},
	{"restarts a Transient child that returned nil", exits(func(n *node, in *input) {
		if n.rule.Restart == Transient && in.out == finished {
			in.out = failed
		}
	})},
	{"leaves a Permanent child that returned nil", exits(func(n *node, in *input) {
		if n.rule.Restart == Permanent && in.out == finished {
			in.out = done
		}
	})},
	{"restarts a child that is done", exits(func(_ *node, in *input) {
		if in.out == done {
			in.out = failed
		}
	})},
	{"takes Goexit for a normal end", exits(func(n *node, in *input) {
		if in.err == ErrGoexit && n.rule.Restart == Transient {
			in.out = finished
		}
	})},
	{"takes an escalation for a failure", exits(func(_ *node, in *input) {
		if in.out == escalated {
			in.out = failed
		}
	})},

	// Intensity.
	{"never gives up", afterwards(func(st *state, _ input) { st.window.clear() })},
	{"gives up one restart late", limited(func(w *restartWindow) {
		if w.limit > 0 {
			w.limit++
		}
	})},
	{"counts over half the window", limited(func(w *restartWindow) { w.span /= 2 })},
	{"counts over twice the window", limited(func(w *restartWindow) { w.span *= 2 })},
	{"does not count a restart that fails", exiting(func(st *state, in input) []action {
		if in.node.incarnation == 1 {
			return step(st, in)
		}
		saved := st.window
		st.window = newRestartWindow(Unlimited, saved.span)
		defer func() { st.window = saved }()
		return step(st, in)
	})},
	{"counts the restart of a group once for each member", func(st *state, in input) []action {
		active := st.group.active
		acts := step(st, in)
		if !active && st.group.active {
			for range st.nodes {
				st.window.admit(in.now)
			}
		}
		return acts
	}},

	// Strategies.
	{"OneForOne also restarts the children after", as(OneForOne, RestForOne)},
	{"OneForAll restarts only the rest", as(OneForAll, RestForOne)},
	{"OneForAll restarts only the one", as(OneForAll, OneForOne)},
	{"RestForOne restarts all", as(RestForOne, OneForAll)},
	{"RestForOne restarts only the one", as(RestForOne, OneForOne)},
	{"starts a group before it has stopped", func(st *state, in input) []action {
		acts := step(st, in)
		if st.group.active {
			st.group.active = false
			for _, n := range st.nodes[st.index(st.group.from):] {
				if n.alive() || n.state == StateBackoff || n.state == StatePending {
					n.state = StatePending
					st.queue = append(st.queue, n)
				}
			}
			st.startNext(in.now)
			acts = st.actions
		}
		return acts
	}},
	{"starts a group without its delay", afterwards(func(st *state, in input) {
		if st.group.active && !st.group.due {
			st.group.due = true
			st.advance(in.now)
		}
	})},
	{"restarts Temporary children with their group", exits(func(n *node, _ *input) {
		if n.state == StateStopping && n.why == forGroup {
			n.rule.Restart = Permanent
		}
	})},
	{"leaves finished Transient children out of a group restart", func(st *state, in input) []action {
		var ended []*node
		for _, n := range st.nodes {
			if n.state == StateStopped && st.group.has(n) {
				ended = append(ended, n)
				n.state = stateGone
			}
		}
		acts := step(st, in)
		return slices.DeleteFunc(acts, func(a action) bool {
			return a.do == doStart && slices.Contains(ended, a.node)
		})
	}},

	// Order.
	{"starts in reverse order", func(st *state, in input) []action {
		if in.what != inServe {
			return step(st, in)
		}
		slices.Reverse(st.nodes)
		defer slices.Reverse(st.nodes)
		return step(st, in)
	}},
	{"does not wait for Ready", afterwards(func(st *state, in input) {
		st.gate = nil
		st.advance(in.now)
	})},
	{"does not hear Ready", func(st *state, in input) []action {
		if in.what == inReady {
			return nil
		}
		return step(st, in)
	}},
	{"lets a failed start hold back the others under OneForOne", exiting(func(st *state, in input) []action {
		if st.gate != in.node || st.strategy != OneForOne {
			return step(st, in)
		}
		held := st.queue
		st.queue = nil
		defer func() { st.queue = held }()
		return step(st, in)
	})},
	{"stops in start order", func(st *state, in input) []action {
		was := st.phase
		acts := step(st, in)
		if was == serving && st.phase == closing && len(acts) > 0 && acts[len(acts)-1].do == doArm {
			for _, n := range st.nodes { // the first instead of the last
				if n.alive() && n != acts[len(acts)-1].node {
					last := acts[len(acts)-1].node
					last.state = StateRunning
					st.actions = st.actions[:len(st.actions)-2]
					st.stop(n, forShutdown, in.now)
					st.cursor = math.MaxUint64
					return st.actions
				}
			}
		}
		return acts
	}},
	{"stops all at once", afterwards(func(st *state, in input) {
		for _, n := range st.nodes {
			if st.phase == closing && n.alive() && n.state != StateStopping {
				st.stop(n, forShutdown, in.now)
			}
		}
	})},

	// Back-off.
	{"does not back off", arming(StateBackoff, func(d time.Duration) time.Duration { return 0 })},
	{"backs off for too long", arming(StateBackoff, func(d time.Duration) time.Duration { return 2 * d })},
	{"never forgets failures", exits(func(n *node, _ *input) { n.up = time.Time{} })},
	{"forgets failures at once", exits(func(n *node, _ *input) { n.delays.reset() })},
	{"counts health from the start, not from Ready", exits(func(n *node, _ *input) {
		if n.up.IsZero() {
			n.up = n.since
		}
	})},
	{"delays every child by the failure of one", func(st *state, in input) []action {
		acts := step(st, in)
		for _, a := range acts {
			if a.do == doTell && a.kind == EventBackoff && st.strategy == OneForOne {
				for _, n := range st.nodes {
					if n.state == StateBackoff && n != a.node {
						st.arm(n, in.now, a.delay)
					}
				}
			}
		}
		return st.actions
	}},
	{"starts a child in back-off during shutdown", func(st *state, in input) []action {
		if in.what != inClose {
			return step(st, in)
		}
		var waiting []*node
		for _, n := range st.nodes {
			if n.state == StateBackoff {
				waiting = append(waiting, n)
			}
		}
		step(st, in)
		for _, n := range waiting {
			st.start(n, in.now)
		}
		return st.actions
	}},
	{"starts a removed child that was in back-off", func(st *state, in input) []action {
		if in.what == inRemove && in.node.state == StateBackoff {
			return []action{{do: doReply, node: in.node}}
		}
		return step(st, in)
	}},

	// Stopping and abandoning.
	{"starts a new incarnation beside an abandoned one", func(st *state, in input) []action {
		acts := step(st, in)
		if in.what == inAlarm && in.node != nil && in.node.state == StateAbandoned && st.phase == serving {
			st.start(in.node, in.now)
			acts = st.actions
		}
		return acts
	}},
	{"does not escalate for an abandoned child", func(st *state, in input) []action {
		if in.what != inAlarm || in.node == nil || in.node.state != StateStopping {
			return step(st, in)
		}
		defer func(s Strategy) { st.strategy = s }(st.strategy)
		st.strategy = OneForOne
		return step(st, in)
	}},
	{"never abandons", deaf(StateStopping)},
	{"abandons too early", arming(StateStopping, func(d time.Duration) time.Duration { return d / 2 })},
	{"does not name what it abandoned", afterwards(func(st *state, in input) {
		for _, n := range st.nodes {
			if n.state == StateAbandoned && st.phase == closing {
				n.state = StateIdle
			}
		}
	})},
	{"waits for Ready for ever", deaf(StateStarting)},
	{"restarts a child that ends by itself during shutdown", exiting(func(st *state, in input) []action {
		if st.phase != closing || !in.node.alive() || in.node.state == StateStopping {
			return step(st, in)
		}
		st.phase = serving
		st.exit(in.node, in)
		st.phase = closing
		return st.actions
	})},
	{"restarts a removed child", exits(func(n *node, _ *input) { n.leaving = false })},
	{"keeps the name of a removed child", func(st *state, in input) []action {
		return slices.DeleteFunc(step(st, in), func(a action) bool { return a.do == doDrop })
	}},
	{"ends before its children", func(st *state, in input) []action {
		was := st.phase
		acts := step(st, in)
		if was == serving && st.phase == closing {
			st.finish(in.now)
			acts = st.actions
		}
		return acts
	}},
	{"escalates twice", func(st *state, in input) []action {
		acts := step(st, in)
		for i, a := range acts {
			if a.do == doTell && a.kind == EventEscalated {
				return slices.Insert(acts, i, a)
			}
		}
		return acts
	}},

	// Significance.
	{"ends for a significant child that was told to stop", exiting(func(st *state, in input) []action {
		if n := in.node; n.rule.Significant && n.state == StateStopping && n.why != forTimeout && st.auto != Never {
			acts := step(st, in)
			if st.phase == serving {
				st.close(in.now, nil)
				st.advance(in.now)
			}
			return append(acts[:0:0], st.actions...)
		}
		return step(st, in)
	})},
	{"ignores significance", ruled(func(c *Child) { c.Significant = false })},
	{"takes all significant for any", func(st *state, in input) []action {
		if st.auto == AllSignificant {
			st.auto = AnySignificant
		}
		return step(st, in)
	}},

	// Incarnations.
	{"repeats an incarnation number", func(st *state, in input) []action {
		if in.what == inExit && in.node.incarnation > 1 {
			in.node.incarnation--
			in.incarnation--
		}
		return step(st, in)
	}},
}

// TestMutations shows that no mistake goes unnoticed.
func TestMutations(t *testing.T) {
	const tries = 1000
	scenario := scenarios()
	t.Run("nothing wrong", func(t *testing.T) {
		for i := range tries {
			if why := violation(play(t, scenario.Example(i), step)); why != "" {
				t.Fatalf("scenario %d: %s", i+1, why)
			}
		}
	})
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			for i := range tries {
				if why := violation(play(t, scenario.Example(i), m.step)); why != "" {
					why, _, _ = strings.Cut(why, "\n")
					t.Logf("caught by scenario %d: %s", i+1, why)
					return
				}
			}
			t.Errorf("not caught by %d scenarios", tries)
		})
	}
}
