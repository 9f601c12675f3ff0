package supervisor

import (
	"context"
	"runtime/debug"

	"github.com/shardbus/shardbus/internal/errguard"
)

// runKey finds the run that a context belongs to.
type runKey struct{}

// run is one incarnation of a child: it is the context below the one that ends, with the values of
// Serve's context but not its end.
type run struct {
	context.Context
	owner       *Supervisor
	child       *child
	incarnation uint64
	above       string // path of owner
}

// Value returns the run itself for runKey.
func (r *run) Value(key any) any {
	if key == (runKey{}) {
		return r
	}
	return r.Context.Value(key)
}

func (r *run) path() string { return r.above + "/" + r.child.node.rule.Name }

// Ready says that the child whose context ctx is, or is derived from, has started up. It matters
// once for each incarnation of a child with AwaitReady; otherwise, and for other contexts, it does
// nothing. It never blocks.
func Ready(ctx context.Context) {
	if r, ok := ctx.Value(runKey{}).(*run); ok {
		r.owner.mu.Lock()
		defer r.owner.mu.Unlock()
		r.owner.applyLocked(input{what: inReady, node: &r.child.node, incarnation: r.incarnation})
	}
}

// pathOf returns the path of a supervisor that serves with ctx. A supervisor that goes by the same
// name as the child it is for is not named twice.
func pathOf(ctx context.Context, name string) string {
	r, ok := ctx.Value(runKey{}).(*run)
	switch {
	case !ok:
		return name
	case r.child.node.rule.Name == name:
		return r.path()
	}
	return r.path() + "/" + name
}

func (s *Supervisor) startLocked(c *child, incarnation uint64) {
	r := &run{
		Context: s.values, owner: s, child: c,
		incarnation: incarnation, above: s.path,
	}
	ctx, cancel := context.WithCancelCause(r)
	c.cancel = cancel
	// The owner is Serve: it returns only when exited was called for this incarnation, which is the
	// last thing the goroutine does, or names it in its error.
	go s.run(ctx, r, cancel)
}

// run is the goroutine of one incarnation.
func (s *Supervisor) run(ctx context.Context, r *run, cancel context.CancelCauseFunc) {
	var err error
	returned := false
	defer func() {
		out := failed
		if returned {
			out = classify(err)
		} else if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		} else {
			err = ErrGoexit
		}
		cancel(errEnded) // whatever the child left behind under its context
		s.exited(r, out, err)
	}()
	err = errguard.Safe(r.child.node.rule.Serve(ctx))
	returned = true
}

func (s *Supervisor) exited(r *run, out outcome, err error) {
	in := input{what: inExit, node: &r.child.node, incarnation: r.incarnation, out: out, err: err}
	if left, ok := errguard.As[*AbandonedError](err); ok {
		for _, path := range left.Paths {
			in.left = append(in.left, r.child.node.rule.Name+"/"+path)
		}
	}
	in.roll = s.luck.draw()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyLocked(in)
}

// dropLocked forgets a child, except that a Temporary one which was given to New and ended by
// itself is there again for the next Serve.
func (s *Supervisor) dropLocked(n *node) {
	c := s.children[n.rule.Name]
	delete(s.children, n.rule.Name)
	if c.declared && !n.leaving {
		s.resting = append(s.resting, c)
	}
}

// replyLocked answers the Removes of a child.
func (s *Supervisor) replyLocked(a action) {
	c := s.children[a.node.rule.Name]
	for _, w := range c.waiters {
		w <- a.err
	}
	c.waiters = nil
}
