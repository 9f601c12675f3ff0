package fakecluster

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault decides what becomes of a command that a node has received, before it is carried out. It is called by the
// goroutine of the connection, several at once, and must not call methods of the Cluster that wait for clients.
type Fault func(Call) Outcome

// Outcome is what a Fault decides. The zero value, [Pass], lets the command happen.
type Outcome struct {
	err                   string
	drop, dropReply, hang bool
	delay                 time.Duration
}

// Pass lets the command happen.
func Pass() Outcome { return Outcome{} }

// ReplyError answers with an error, as in "NOPERM no permissions", and carries out nothing.
func ReplyError(message string) Outcome { return Outcome{err: message} }

// Drop closes the connection instead of carrying the command out.
func Drop() Outcome { return Outcome{drop: true} }

// DropReply carries the command out and closes the connection instead of replying.
func DropReply() Outcome { return Outcome{dropReply: true} }

// Hang never answers: neither this command nor the later ones of this connection, which stays open.
func Hang() Outcome { return Outcome{hang: true} }

// Delay carries the command out after d. The later ones of this connection wait.
func Delay(d time.Duration) Outcome { return Outcome{delay: d} }

// Always is the Fault that decides the same for every command.
func Always(o Outcome) Fault { return func(Call) Outcome { return o } }

// Times is the Fault that decides the same for the first n commands and then lets them pass.
func Times(n int, o Outcome) Fault {
	var count atomic.Int64
	return func(Call) Outcome {
		if count.Add(1) <= int64(n) {
			return o
		}
		return Pass()
	}
}

// Fault has f decide about every command of that name at a node, until remove is called. A nil node is every node, an
// empty command every command. Of several that apply the first decision that is not Pass holds.
//
// What a script or EXEC calls is not asked about: the EVAL or EXEC is.
func (c *Cluster) Fault(node *Node, command string, f Fault) (remove func()) {
	return c.faults.add(&placedFault{node: node, command: strings.ToUpper(command), decide: f})
}

type placedFault struct {
	node    *Node
	command string
	decide  Fault
}

// faults are those that are in force.
type faults struct {
	mu sync.Mutex
	// mu guards placed; the list is replaced, never changed.
	placed []*placedFault
}

func (f *faults) add(p *placedFault) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.placed = append(append([]*placedFault(nil), f.placed...), p)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		var left []*placedFault
		for _, other := range f.placed {
			if other != p {
				left = append(left, other)
			}
		}
		f.placed = left
	}
}

// ask returns the first decision that is not Pass.
func (f *faults) ask(name string, call Call) Outcome {
	f.mu.Lock()
	placed := f.placed
	f.mu.Unlock()
	for _, p := range placed {
		if (p.node == nil || p.node == call.Node) && (p.command == "" || p.command == name) {
			if o := p.decide(call); o != Pass() {
				return o
			}
		}
	}
	return Pass()
}
