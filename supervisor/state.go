package supervisor

import (
	"sort"
	"time"
)

// state is everything that decisions depend on. Only step and what it calls change it.
type state struct {
	name     string
	strategy Strategy
	auto     AutoShutdown

	phase       phase
	incarnation uint64 // counts Serves
	since       time.Time
	cause       error // why it closes; nil if it was asked to
	window      restartWindow
	restarts    uint64
	lastErr     error // of the last Serve
	announced   bool  // the first sequence of starts is through

	nodes []*node // in start order: by id

	// The sequence of starts: the children in queue are started in order. While gate is set, they
	// wait for that child to be ready.
	queue []*node
	gate  *node

	group group // the group restart in progress
	// cursor is the id of the child that a sequence of stops has come to: no child behind it that
	// the sequence is about is alive. It makes the sequence linear.
	cursor uint64

	left    []string // what children below reported as Abandoned, and are gone
	actions []action
}

// phase is where a supervisor is in its life.
type phase uint8

const (
	resting phase = iota // before, between and after Serves
	serving
	closing // children are being stopped, for good
)

// group is a restart of the children from a certain one on.
type group struct {
	active bool
	from   uint64 // id of the first member
	until  time.Time
	due    bool   // the delay has passed
	alarm  uint64 // generation of the alarm that says so
}

// has reports whether n is being restarted with the group.
func (g *group) has(n *node) bool { return g.active && n.id >= g.from }

// node is one child, as far as decisions go.
type node struct {
	id   uint64 // rises in start order
	rule Child  // with defaults filled in

	state       State
	incarnation uint64
	since       time.Time // when state was entered
	up          time.Time // since when it has been started, or ready
	why         why       // in StateStopping and StateAbandoned
	leaving     bool      // Remove was asked for
	alarm       uint64    // generation of the only alarm that still counts
	delays      delays
	lastErr     error
	left        []string // what it reported as Abandoned below itself
}

// why is the reason a child was told to stop.
type why uint8

const (
	forShutdown why = iota
	forRemove
	forGroup
	forTimeout
)

// alive reports whether the child's Serve may be running and is not given up.
func (n *node) alive() bool {
	return n.state == StateStarting || n.state == StateRunning || n.state == StateStopping
}

// enter moves the node to another state. Alarms set before no longer count.
func (n *node) enter(s State, now time.Time) {
	n.state, n.since = s, now
	n.alarm++
}

// input is what happened. Which fields count depends on what.
type input struct {
	what what
	now  time.Time
	node *node // all but inServe, inClose; nil for the alarm of a group

	incarnation uint64  // inReady, inExit: whose it is
	alarm       uint64  // inAlarm: generation
	out         outcome // inExit
	err         error   // inExit
	left        []string
	roll        float64 // inExit: luck for the delay, in [0, 1)
}

type what uint8

const (
	inServe  what = iota // Serve was called
	inClose              // Serve's context ended
	inAdd                // node was added
	inRemove             // node shall go
	inReady              // node says it is ready
	inExit               // node's Serve ended
	inAlarm              // an alarm rang
)

// action is what shall be done. Actions are carried out in order.
type action struct {
	do   do
	node *node // nil for what concerns the supervisor

	incarnation uint64 // doStart, doTell

	at    time.Time     // doArm: when
	alarm uint64        // doArm: generation
	kind  Kind          // doTell
	delay time.Duration // doTell
	err   error         // doCancel: the cause; doTell, doReply, doFinish
}

type do uint8

const (
	doStart  do = iota // start an incarnation of node
	doCancel           // end the context of node
	doArm              // set an alarm for node, or for the group
	doTell             // tell OnEvent
	doDrop             // node is no longer listed
	doReply            // answer those who asked for node's removal
	doReady            // tell the supervisor above that all were started
	doFinish           // Serve returns err
)

func (st *state) act(a action) { st.actions = append(st.actions, a) }

func (st *state) tell(kind Kind, n *node, err error) {
	st.act(action{do: doTell, kind: kind, node: n, incarnation: n.incarnation, err: err})
}

// arm sets the one alarm of n that counts. Forever sets none.
func (st *state) arm(n *node, now time.Time, after time.Duration) {
	n.alarm++
	if after >= 0 {
		st.act(action{do: doArm, node: n, at: now.Add(after), alarm: n.alarm})
	}
}

// index returns the position of the first node with an id of at least id.
func (st *state) index(id uint64) int {
	return sort.Search(len(st.nodes), func(i int) bool { return st.nodes[i].id >= id })
}

// insert lists n in the order of ids.
func (st *state) insert(n *node) {
	i := st.index(n.id)
	st.nodes = append(st.nodes, nil)
	copy(st.nodes[i+1:], st.nodes[i:])
	st.nodes[i] = n
}

// drop takes n off the list, which frees its name.
func (st *state) drop(n *node, now time.Time) {
	if i := st.index(n.id); i < len(st.nodes) && st.nodes[i] == n {
		copy(st.nodes[i:], st.nodes[i+1:])
		st.nodes[len(st.nodes)-1] = nil
		st.nodes = st.nodes[:len(st.nodes)-1]
	}
	if st.gate == n {
		st.gate = nil
	}
	n.enter(stateGone, now)
	st.act(action{do: doDrop, node: n})
}

// tree returns the snapshot of st, without what is below its children.
func (st *state) tree(now time.Time) Tree {
	t := Tree{
		Name: st.name, State: st.shown(), Incarnation: st.incarnation, Restarts: st.restarts,
		Since: st.since, Uptime: uptime(st.since, now), LastErr: st.lastErr,
		Children: make([]Tree, len(st.nodes)),
	}
	for i, n := range st.nodes {
		t.Children[i] = n.tree(now)
	}
	return t
}

// shown is the state of the supervisor itself, for people.
func (st *state) shown() State {
	switch {
	case st.phase == closing:
		return StateStopping
	case st.phase == resting && st.incarnation == 0:
		return StateIdle
	case st.phase == resting:
		return StateStopped
	case !st.announced:
		return StateStarting
	}
	return StateRunning
}

func (n *node) tree(now time.Time) Tree {
	t := Tree{
		Name: n.rule.Name, State: n.state, Incarnation: n.incarnation,
		Since: n.since, Uptime: uptime(n.since, now), LastErr: n.lastErr,
	}
	if n.incarnation > 1 {
		t.Restarts = n.incarnation - 1
	}
	return t
}

func uptime(since, now time.Time) time.Duration {
	if since.IsZero() || now.Before(since) {
		return 0
	}
	return now.Sub(since)
}
