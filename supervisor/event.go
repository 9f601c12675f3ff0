package supervisor

import (
	"fmt"
	"strings"
	"time"
)

// Kind says what an [Event] tells.
type Kind uint8

const (
	// EventStarted: an incarnation of a child was started.
	EventStarted Kind = iota + 1
	// EventReady: a child with AwaitReady called Ready.
	EventReady
	// EventExited: a child ended without having been told to, or was not Ready in time. Err is the
	// failure; nil means that Serve returned nil.
	EventExited
	// EventBackoff: the restart of a failed child, and under a group strategy of its group, waits
	// for Delay.
	EventBackoff
	// EventAbandoned: a child told to stop is still running after its grace.
	EventAbandoned
	// EventEscalated: the supervisor gives up because of Err. Every child has ended or is Abandoned
	// by now.
	EventEscalated
	// EventStopped: a child told to stop has ended; without a Child, the supervisor itself, and
	// that is the last event of a Serve.
	EventStopped
)

// String returns the kind's name, such as "Started".
func (k Kind) String() string {
	switch k {
	case EventStarted:
		return "Started"
	case EventReady:
		return "Ready"
	case EventExited:
		return "Exited"
	case EventBackoff:
		return "Backoff"
	case EventAbandoned:
		return "Abandoned"
	case EventEscalated:
		return "Escalated"
	case EventStopped:
		return "Stopped"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Event is one thing that happened to a supervisor or to one of its children. What happens below a
// child that is itself a supervisor is told by that one.
type Event struct {
	// Seq counts the events of a supervisor from 1, without holes over all its Serves; a hole in
	// what OnEvent saw was dropped.
	Seq uint64
	// Lost is how many events before this one OnEvent did not handle in all, since it was too slow
	// for them or panicked.
	Lost uint64
	Time time.Time
	Kind Kind
	// Path leads from the outermost supervisor to what the event is about, with slashes between the
	// names.
	Path string
	// Child is the name of the child, empty if the event is about the supervisor.
	Child string
	// Incarnation counts the starts of the child (of the supervisor: its Serves) from 1.
	Incarnation uint64
	// Delay is set for EventBackoff only.
	Delay time.Duration
	// Err is the cause, if there is one.
	Err error
}

// String returns the event on one line, without its time.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %v %s#%d", e.Seq, e.Kind, e.Path, e.Incarnation)
	if e.Kind == EventBackoff {
		fmt.Fprintf(&b, " delay=%v", e.Delay)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, " err=%q", e.Err)
	}
	return b.String()
}
