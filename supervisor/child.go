package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Forever is a Grace or a StartTimeout without limit.
const Forever time.Duration = -1

// Defaults of [Child].
const (
	DefaultGrace        = 5 * time.Second
	DefaultStartTimeout = 30 * time.Second
)

// Restart says when a child that ended on its own is started again. A child that its supervisor
// told to stop does not count by it.
type Restart uint8

const (
	// Permanent children are always restarted. This is the zero value.
	Permanent Restart = iota
	// Transient children are restarted when they failed. One that returned nil or ErrDone stays
	// listed as Stopped; a group restart starts it again.
	Transient
	// Temporary children are never restarted. One that ended is dropped from the tree and its name
	// is free.
	Temporary
)

// String returns the name of the restart type in lower case.
func (r Restart) String() string {
	switch r {
	case Permanent:
		return "permanent"
	case Transient:
		return "transient"
	case Temporary:
		return "temporary"
	}
	return fmt.Sprintf("Restart(%d)", uint8(r))
}

// Child describes one child of a supervisor. It is a plain value: copies are independent, and a
// supervisor keeps its own.
type Child struct {
	// Name identifies the child among its siblings. Required.
	Name string

	// Serve does the work. It returns when ctx ends, and it may return before:
	//
	//   - nil: finished (a failure only if the child is Permanent);
	//   - an error that wraps ErrDone: finished, whatever the restart type;
	//   - an error that wraps ErrEscalate: the supervisor must give up;
	//   - any other error, a panic or runtime.Goexit: failed.
	//
	// ctx carries the values of the context given to the supervisor's Serve, but neither its end
	// nor its deadline: it ends when this child shall stop. Serve is called again, on a new
	// goroutine, for each incarnation, and never while an earlier incarnation has not returned.
	// Required.
	Serve func(ctx context.Context) error

	// Restart says when the child is started again. Zero: Permanent.
	Restart Restart

	// Grace is how long the child may take to return once told to stop, before it is Abandoned.
	// Zero: DefaultGrace. Forever: no limit, right for a child that is itself a supervisor.
	Grace time.Duration

	// Significant children take part in the supervisor's AutoShutdown. A Permanent child cannot be
	// significant, because it never ends for good.
	Significant bool

	// Backoff overrides the supervisor's, field by field; a zero field inherits.
	Backoff Backoff

	// AwaitReady holds back the start of later children until this one has called Ready with its
	// context. A child that does not within StartTimeout is told to stop, and that is a failed
	// start. Under OneForOne a failed start no longer holds back the others; under the group
	// strategies it does, since they say that later children depend on earlier ones.
	AwaitReady bool

	// StartTimeout bounds AwaitReady. Zero: DefaultStartTimeout. Forever: no limit.
	StartTimeout time.Duration

	// Tree, if set, lists what is below the child: of the value returned, the Children appear under
	// the child in the supervisor's Tree. It is called by whoever calls the supervisor's Tree, at
	// any time and from several goroutines at once; it must not block.
	Tree func() Tree
}

// resolved returns the child with every default filled in.
func (c Child) resolved(spec Spec) (Child, error) {
	switch {
	case c.Name == "":
		return c, errors.New("supervisor: a child has no name")
	case c.Serve == nil:
		return c, fmt.Errorf("supervisor: child %q has no Serve", c.Name)
	case c.Restart > Temporary:
		return c, fmt.Errorf("supervisor: child %q: unknown %v", c.Name, c.Restart)
	case c.Significant && c.Restart == Permanent:
		return c, fmt.Errorf("supervisor: child %q is permanent and cannot be significant", c.Name)
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	c.Backoff = c.Backoff.or(spec.Backoff)
	if err := c.Backoff.check(); err != nil {
		return c, fmt.Errorf("supervisor: child %q: %w", c.Name, err)
	}
	return c, nil
}
