package fakecluster

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// Call is a command that a node received.
type Call struct {
	Node   *Node
	Client int      // the connection's CLIENT ID
	Number int      // counts the commands of that name at that node, from 1
	Args   []string // the whole line; not to be changed
}

// loggedCalls is how many commands the log remembers.
const loggedCalls = 4096

// callLog counts all commands and remembers the last ones.
type callLog struct {
	mu sync.Mutex
	// mu guards what follows.
	counts map[string]map[*Node]int
	calls  []Call // a ring once it is full
	next   int
}

// add returns the call's number.
func (l *callLog) add(name string, call Call) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]map[*Node]int)
	}
	if l.counts[name] == nil {
		l.counts[name] = make(map[*Node]int)
	}
	l.counts[name][call.Node]++
	call.Number = l.counts[name][call.Node]
	if len(l.calls) < loggedCalls {
		l.calls = append(l.calls, call)
	} else {
		l.calls[l.next] = call
		l.next = (l.next + 1) % loggedCalls
	}
	return call.Number
}

// Calls returns how many commands of that name all nodes have received since the start. What scripts and EXEC call does
// not count.
func (c *Cluster) Calls(command string) int {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	sum := 0
	for _, n := range c.log.counts[strings.ToUpper(command)] {
		sum += n
	}
	return sum
}

// Calls returns how many commands of that name the node has received since the start, as Cluster.Calls.
func (n *Node) Calls(command string) int {
	l := &n.cluster.log
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[strings.ToUpper(command)][n]
}

// CommandLog returns the last commands that the nodes received, at most 4096, oldest first.
func (c *Cluster) CommandLog() []Call {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return slices.Concat(c.log.calls[c.log.next:], c.log.calls[:c.log.next])
}

// shownWords is how much of a command line messages show.
const shownWords = 12

// unmodelled reports what the fake does not model, once per command.
type unmodelled struct {
	mu sync.Mutex
	// mu guards told.
	told map[string]bool
}

// report fails the test.
func (u *unmodelled) report(t testing.TB, name string, args []string) {
	u.mu.Lock()
	if u.told == nil {
		u.told = make(map[string]bool)
	}
	told := u.told[name]
	u.told[name] = true
	u.mu.Unlock()
	if !told {
		t.Errorf("fakecluster: a command that is not modelled: %q", args[:min(len(args), shownWords)])
	}
}
