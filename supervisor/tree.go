package supervisor

import (
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// State is the state of one node of a [Tree].
type State uint8

const (
	// StateIdle: listed, and not to be started before the next Serve.
	StateIdle State = iota
	// StatePending: waits for its turn to be started.
	StatePending
	// StateStarting: started, with AwaitReady, and not ready yet.
	StateStarting
	// StateRunning: at work.
	StateRunning
	// StateBackoff: failed, and waits for its delay to pass.
	StateBackoff
	// StateStopping: told to stop, and within its grace.
	StateStopping
	// StateStopped: ended for good.
	StateStopped
	// StateAbandoned: told to stop, and still running after its grace.
	StateAbandoned
	// StateStandby: waits for another one to end, whose place it takes. No child of a supervisor does; a
	// subscription of a durable topic may.
	StateStandby

	// stateGone is the state of a node that is no longer listed.
	stateGone
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateIdle:
		return "idle"
	case StatePending:
		return "pending"
	case StateStarting:
		return "starting"
	case StateRunning:
		return "running"
	case StateBackoff:
		return "backoff"
	case StateStopping:
		return "stopping"
	case StateStopped:
		return "stopped"
	case StateAbandoned:
		return "abandoned"
	case StateStandby:
		return "standby"
	case stateGone:
		return "gone"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Tree is a snapshot of a supervisor or of anything else that reports its state in the same way. It
// is a plain value; whoever has one may change it.
type Tree struct {
	Name  string
	State State
	// Incarnation counts the starts from 1; 0 if there was none.
	Incarnation uint64
	// Restarts is how many of the starts were restarts. For a supervisor: how many restarts it has
	// decided on in its present Serve, a group's counted once.
	Restarts uint64
	// Since is when State was entered; Uptime is how long before the snapshot that was.
	Since  time.Time
	Uptime time.Duration
	// LastErr is the last failure, if there was one.
	LastErr  error
	Children []Tree
}

// Find returns the node reached from t by the names of its descendants. Without names that is t.
func (t Tree) Find(names ...string) (Tree, bool) {
	for _, name := range names {
		found := false
		for _, child := range t.Children {
			if child.Name == name {
				t, found = child, true
				break
			}
		}
		if !found {
			return Tree{}, false
		}
	}
	return t, true
}

// String returns the tree for people to read, a line per node, indented.
func (t Tree) String() string {
	var b strings.Builder
	t.write(&b, "", "")
	return b.String()
}

// write puts first before the node's own line and rest before those below it.
func (t Tree) write(b *strings.Builder, first, rest string) {
	fmt.Fprintf(b, "%s%s  %v", first, t.Name, t.State)
	if !t.Since.IsZero() {
		fmt.Fprintf(b, "  %v", readable(t.Uptime))
	}
	if t.Restarts > 0 {
		fmt.Fprintf(b, "  restarts %d", t.Restarts)
	}
	if t.LastErr != nil {
		fmt.Fprintf(b, "  last error %q", oneLine(t.LastErr))
	}
	b.WriteByte('\n')
	for i, child := range t.Children {
		if i < len(t.Children)-1 {
			child.write(b, rest+"├── ", rest+"│   ")
		} else {
			child.write(b, rest+"└── ", rest+"    ")
		}
	}
}

// readable drops digits that nobody reads in an uptime.
func readable(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// oneLine is the text of err, cut to what fits a line.
func oneLine(err error) string {
	const limit = 120
	text := []rune(errguard.Text(err))
	if len(text) > limit {
		text = append(text[:limit-1], '…')
	}
	return string(text)
}
