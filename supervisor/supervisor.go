package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/internal/signal"
)

// Supervisor starts, watches, restarts and stops its children. All methods may be called at any
// time from any goroutine, children and OnEvent included.
type Supervisor struct {
	spec     Spec
	step     func(*state, input) []action // a field so that tests can break it
	notifier notifier
	luck     luck
	poke     signal.Wakeup // tells Serve's loop of an earlier alarm

	// Lock order: the mu of a supervisor below, that of the one above it, then notifier.mu. What is
	// done under mu never blocks and calls no code of the user but the methods of Serve's context.
	mu       sync.Mutex
	state    state
	children map[string]*child
	resting  []*child // Temporary ones of New that ended: the next Serve has them again
	nextID   uint64
	seq      uint64 // of events
	alarms   alarms
	ring     time.Time       // what Serve's loop will wake up for; zero: nothing
	serving  bool            // a Serve has not returned
	ctx      context.Context // of the Serve in progress
	values   context.Context // ctx without its end
	path     string          // in the tree of the Serve in progress
	over     chan struct{}   // closed when the Serve in progress shall return result
	result   error
}

// child is what a supervisor keeps for a child besides its node.
type child struct {
	node     node
	declared bool                    // given to New
	cancel   context.CancelCauseFunc // of the present incarnation
	waiters  []chan<- error          // Removes in progress
}

// New returns a supervisor that is not serving yet, with children in the order in which they shall
// be started. It starts no goroutine. The error names what is wrong with the spec or with a child.
func New(spec Spec, children ...Child) (*Supervisor, error) {
	spec, err := spec.resolved()
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		spec:     spec,
		step:     step,
		notifier: notifier{hook: spec.OnEvent},
		luck:     luck{rand: spec.Rand},
		poke:     signal.NewWakeup(),
		path:     spec.Name,
		children: make(map[string]*child, len(children)),
	}
	s.state = newState(spec)
	for _, c := range children {
		if err := s.add(c, true); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newState(spec Spec) state {
	return state{
		name:     spec.Name,
		strategy: spec.Strategy,
		auto:     spec.AutoShutdown,
		window:   newRestartWindow(spec.MaxRestarts, spec.Within),
	}
}

// Add lists a child after all others. While the supervisor serves, the child is started in its turn
// (at once, unless a start or the restart of a group is in progress), and Add does not wait for
// that; else with the next Serve. It fails with ErrDuplicate or ErrStopping, or if the child is not
// valid.
//
// A Temporary child that was added is forgotten once it ended; one that was given to New is started
// by each Serve.
func (s *Supervisor) Add(c Child) error {
	return s.add(c, false)
}

func (s *Supervisor) add(c Child, declared bool) error {
	c, err := c.resolved(s.spec)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.children[c.Name]; taken {
		return fmt.Errorf("%w: %q", ErrDuplicate, c.Name)
	}
	s.yieldLocked()
	if s.serving && s.state.phase != serving {
		return ErrStopping
	}
	s.awakenLocked(c.Name, false)
	s.nextID++
	e := &child{node: node{id: s.nextID, rule: c}, declared: declared}
	s.children[c.Name] = e
	s.applyLocked(input{what: inAdd, node: &e.node})
	return nil
}

// Remove stops the child of that name and takes it off the list. It returns nil when the child has
// ended, and the name is free then. If the child is Abandoned instead, Remove returns an
// *AbandonedError, and the child leaves the list when it ends. If ctx ends first, Remove returns
// its error, and the removal goes on. A name that is not listed is ErrUnknown.
//
// A child that removes itself must do so with its own context, which the removal ends: it cannot
// wait for its own end.
func (s *Supervisor) Remove(ctx context.Context, name string) error {
	reply := make(chan error, 1)
	s.mu.Lock()
	e, listed := s.children[name]
	if !listed {
		found := s.awakenLocked(name, false)
		s.mu.Unlock()
		if found {
			return nil
		}
		return fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	e.waiters = append(e.waiters, reply)
	s.applyLocked(input{what: inRemove, node: &e.node})
	s.mu.Unlock()
	select {
	case err := <-reply:
		return err
	default: // an answer that is there counts, even if ctx has ended too
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awakenLocked takes the resting child of that name, or all, off s.resting. With list they are
// listed again.
func (s *Supervisor) awakenLocked(name string, list bool) bool {
	found := false
	s.resting = slices.DeleteFunc(s.resting, func(e *child) bool {
		if name != "" && e.node.rule.Name != name {
			return false
		}
		found = true
		if list {
			e.node.state = StateIdle
			s.children[e.node.rule.Name] = e
			s.applyLocked(input{what: inAdd, node: &e.node})
		}
		return true
	})
	return found
}

// Tree returns what the supervisor and everything below it is doing at this moment. Below a child
// it is what the child's Tree function says.
func (s *Supervisor) Tree() Tree {
	now := time.Now()
	s.mu.Lock()
	t := s.state.tree(now)
	below := make([]func() Tree, len(s.state.nodes))
	for i, n := range s.state.nodes {
		below[i] = n.rule.Tree
	}
	s.mu.Unlock()
	for i, f := range below {
		if f != nil {
			t.Children[i].Children = subtree(f)
		}
	}
	return t
}

// Node is what Tree says of the child of that name, without what is below it, and whether there is
// one. It calls no Tree function.
func (s *Supervisor) Node(name string) (Tree, bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.tree(now).Find(name)
}

// subtree returns the children that a child's Tree function lists. Tree is called by people who
// look for trouble: a panic in there must not be more of it.
func subtree(f func() Tree) (children []Tree) {
	defer func() {
		if v := recover(); v != nil {
			children = []Tree{{Name: "(Tree failed)", State: StateStopped, LastErr: &PanicError{Value: v}}}
		}
	}()
	return f().Children
}

// Child returns the supervisor as a child of another one: under its own name, with no limit on its
// grace, because the graces of its own children bound the time it takes to stop, and with its tree
// below it.
func (s *Supervisor) Child(restart Restart) Child {
	return Child{Name: s.spec.Name, Serve: s.Serve, Restart: restart, Grace: Forever, Tree: s.Tree}
}
