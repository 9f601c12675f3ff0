package bus

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// maxMisuses bounds what is remembered of a subscription's misuses, and so what is
// reported of them.
const maxMisuses = 100

// checker is what Config.Debug adds to a subscription: it stands between the stages of
// its chain, which are the middleware and the handler, and sees what they do.
type checker struct {
	stages  []stage // the outermost first; the handler last
	misused func(what string)

	mu struct {
		sync.Mutex
		told map[string]struct{}
	}
}

// stage is a middleware, or the handler.
type stage struct {
	name string
	// unseen counts the calls of next with a context and a Delivery of the
	// middleware's own making, which belong to no attempt that is known.
	unseen atomic.Uint64
}

// checkedChain is chain with a checker between all stages, which tells misused what they did wrong.
func checkedChain(h Handler, handler any, middleware []Middleware, ofBus int, misused func(what string)) (Handler, error) {
	c := &checker{stages: make([]stage, len(middleware)+1), misused: misused}
	between := make([]Middleware, len(middleware))
	for i, m := range middleware {
		c.stages[i].name = "middleware " + functionName(m)
		between[i] = func(next Handler) Handler {
			if h := m(c.next(i, next)); h != nil {
				return c.stage(i, h)
			}
			return nil
		}
	}
	last := len(middleware)
	c.stages[last].name = "handler " + functionName(handler)
	outermost, err := chain(c.stage(last, h), between, ofBus)
	if err != nil {
		return nil, err
	}
	return c.attempts(outermost), nil
}

// functionName says which function f is, and where it stands.
func functionName(f any) string {
	if f == nil {
		return "of an unknown name"
	}
	fn := runtime.FuncForPC(reflect.ValueOf(f).Pointer())
	if fn == nil {
		return "of an unknown name"
	}
	file, line := fn.FileLine(fn.Entry())
	return fmt.Sprintf("%s (%s:%d)", shortName(fn.Name()), filepath.Base(file), line)
}

// shortName is a function's name without the path of its package.
func shortName(name string) string {
	return name[strings.LastIndexByte(name, '/')+1:]
}

// attempts is outermost: it gives each attempt a Delivery of its own, on memory of its
// own, so that one that is kept for too long shows the event that it was made for.
func (c *checker) attempts(h Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		a := newCheckedAttempt(c, d)
		defer a.end(d)
		return runAttempt(context.WithValue(ctx, attemptKey{}, a), &a.d, h)
	}
}

// stage stands around stage i.
func (c *checker) stage(i int, h Handler) Handler {
	return func(ctx context.Context, d *Delivery) (err error) {
		a := attemptOf(ctx, d)
		if a == nil {
			return h(ctx, d)
		}
		unseen := c.stages[i].unseen.Load()
		a.entered(i)
		returned := false
		defer func() {
			a.left(i, returned && err == nil && c.stages[i].unseen.Load() == unseen)
		}()
		err = h(ctx, d)
		returned = true
		return err
	}
}

// next stands around what middleware i is given as next.
func (c *checker) next(i int, next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		if a := attemptOf(ctx, d); a != nil {
			a.callsNext(i)
		} else {
			c.stages[i].unseen.Add(1)
		}
		return next(ctx, d)
	}
}

// report tells of a misuse, the first of its kind at its place: key says which those
// are.
func (c *checker) report(key, what string) {
	c.mu.Lock()
	_, told := c.mu.told[key]
	if told = told || len(c.mu.told) >= maxMisuses; !told {
		if c.mu.told == nil {
			c.mu.told = make(map[string]struct{})
		}
		c.mu.told[key] = struct{}{}
	}
	c.mu.Unlock()
	if !told {
		c.misused(what)
	}
}
