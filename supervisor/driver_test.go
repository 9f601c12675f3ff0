package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A trace is what was seen while a scenario ran.
type trace struct {
	sc *scenario

	mu       sync.Mutex
	origin   time.Time
	events   []Event // as step told them
	told     []Event // as OnEvent heard them
	seen     []sight // by the children themselves
	results  []string
	returned []time.Duration // of Serve
	begun    []time.Duration // of Serve
	removes  []removal
	faults   []string
	kill     chan struct{} // lets go of everything; what follows is not recorded
	killed   bool
}

// sight is something that a child saw happen to itself.
type sight struct {
	at   time.Duration
	name string
	kid  *script
	life int
	what string // began, told, ended
}

type removal struct {
	name         string
	called, done time.Duration
	err          error
}

// Limits on what a broken supervisor may do before it is cut off.
const (
	maxSights = 20_000
	lostAfter = time.Minute
)

var errBoom = errors.New("boom")

func (tr *trace) now() time.Duration { return time.Since(tr.origin) }

func (tr *trace) fault(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.faults = append(tr.faults, fmt.Sprintf(format, args...))
}

func (tr *trace) result(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.results = append(tr.results, fmt.Sprintf("%v ", tr.now())+fmt.Sprintf(format, args...))
}

func (tr *trace) see(k *script, life int, what string) (tooMuch bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.killed {
		return false
	}
	tr.seen = append(tr.seen, sight{tr.now(), k.child.Name, k, life, what})
	return len(tr.seen) > maxSights
}

// serve plays a script.
func (tr *trace) serve(k *script) func(context.Context) error {
	var lives int
	var alive bool
	return func(ctx context.Context) error {
		tr.mu.Lock()
		if alive {
			tr.faults = append(tr.faults, k.child.Name+": two incarnations at once")
		}
		alive = true
		n := lives
		lives++
		tr.mu.Unlock()
		if tr.see(k, n, "began") {
			<-tr.kill
		}
		defer func() {
			tr.see(k, n, "ended")
			tr.mu.Lock()
			alive = false
			tr.mu.Unlock()
		}()
		l := k.lives[n%len(k.lives)]
		ready, ends := after(l.ready), after(l.runs)
		for {
			select {
			case <-ready:
				ready = nil
				Ready(ctx)
			case <-ends:
				return l.ends.perform()
			case <-ctx.Done():
				tr.see(k, n, "told")
				if l.stops != 0 {
					select {
					case <-after(l.stops):
					case <-tr.kill:
					}
				}
				return l.last.perform()
			case <-tr.kill:
				return nil
			}
		}
	}
}

func after(d time.Duration) <-chan time.Time {
	if d == never {
		return nil
	}
	return time.After(d)
}

func (e ending) perform() error {
	switch e {
	case endError:
		return errBoom
	case endPanic:
		panic("boom")
	case endGoexit:
		runtime.Goexit()
	case endDone:
		return fmt.Errorf("really %w", ErrDone)
	case endEscalate:
		return fmt.Errorf("really %w", ErrEscalate)
	}
	return nil
}

// play runs a scenario in a bubble, with a step that may be broken on purpose.
func play(t *testing.T, sc *scenario, decide func(*state, input) []action) *trace {
	tr := &trace{sc: sc}
	synctest.Test(t, func(*testing.T) { tr.play(decide) })
	return tr
}

func (tr *trace) play(decide func(*state, input) []action) {
	tr.origin = time.Now()
	tr.kill = make(chan struct{})
	sc, spec := tr.sc, tr.sc.spec
	spec.Rand = func() float64 { return luckAt(tr.now()) }
	heard := 0
	spec.OnEvent = func(e Event) {
		heard++
		switch {
		case sc.hook == hookPanics && heard%3 == 0:
			panic("hook")
		case sc.hook == hookPanics && heard%3 == 1:
			runtime.Goexit()
		case sc.hook == hookBlocks:
			<-tr.kill
		default:
			tr.mu.Lock()
			if !tr.killed {
				tr.told = append(tr.told, e)
			}
			tr.mu.Unlock()
		}
	}
	s, err := New(spec)
	if err != nil {
		tr.fault("New: %v", err)
		return
	}
	s.step = func(st *state, in input) []action {
		acts := decide(st, in)
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, a := range acts {
			if a.do == doTell && !tr.killed && len(tr.events) < maxSights {
				e := Event{Kind: a.kind, Time: in.now, Incarnation: a.incarnation, Delay: a.delay, Err: a.err}
				if a.node != nil {
					e.Child = a.node.rule.Name
				}
				tr.events = append(tr.events, e)
			}
		}
		return acts
	}
	for i := range sc.kids {
		c := sc.kids[i].child
		c.Serve = tr.serve(&sc.kids[i])
		if err := s.add(c, true); err != nil {
			tr.fault("New: %v", err)
			return
		}
	}

	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() { tr.operate(ctx, s, &wg) })
	for i, d := range sc.serves {
		if i > 0 {
			time.Sleep(sc.pause)
		}
		if !tr.serveOnce(s, d) {
			break
		}
	}
	wait := make(chan struct{})
	go func() { wg.Wait(); close(wait) }()
	select {
	case <-wait:
	case <-time.After(lostAfter):
		tr.fault("Add or Remove does not return")
	}
	tr.mu.Lock()
	tr.killed = true
	tr.mu.Unlock()
	cancel()
	close(tr.kill)
	synctest.Wait()
	time.Sleep(2 * HookGrace)
}

// serveOnce reports whether Serve returned. If it does not, it is made to.
func (tr *trace) serveOnce(s *Supervisor, d time.Duration) bool {
	tr.mu.Lock()
	tr.begun = append(tr.begun, tr.now())
	tr.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	ret := make(chan error)
	go func() { ret <- s.Serve(ctx) }()
	ok, limit := true, time.After(d+lostAfter)
	for {
		select {
		case err := <-ret:
			tr.result("serve: %s", class(err))
			tr.mu.Lock()
			tr.returned = append(tr.returned, tr.now())
			tr.mu.Unlock()
			return ok
		case <-limit:
			ok = false
			tr.fault("Serve does not return")
			s.mu.Lock()
			s.step = func(st *state, in input) []action { return nil }
			select {
			case <-s.over:
			default:
				close(s.over)
			}
			s.mu.Unlock()
		}
	}
}

func (tr *trace) operate(ctx context.Context, s *Supervisor, wg *sync.WaitGroup) {
	for i := range tr.sc.ops {
		o := &tr.sc.ops[i]
		time.Sleep(o.at - tr.now())
		switch o.what {
		case "add":
			c := o.kid.child
			c.Serve = tr.serve(&o.kid)
			tr.result("add %s: %s", o.name, class(s.Add(c)))
		case "remove":
			wg.Go(func() {
				r := removal{name: o.name, called: tr.now()}
				r.err = s.Remove(ctx, o.name)
				r.done = tr.now()
				tr.result("remove %s of %v: %s", o.name, o.at, class(r.err))
				tr.mu.Lock()
				tr.removes = append(tr.removes, r)
				tr.mu.Unlock()
			})
		case "tree":
			synctest.Wait()
			tr.result("tree %s", outline(s.Tree()))
		}
	}
}

// outline is what the model knows of a tree.
func outline(t Tree) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v#%d r%d", t.State, t.Incarnation, t.Restarts)
	for _, c := range t.Children {
		fmt.Fprintf(&b, " %s:%v#%d", c.Name, c.State, c.Incarnation)
	}
	return b.String()
}

// class is the kind of an error, as the model names them.
func class(err error) string {
	var (
		tooMany   *TooManyRestarts
		escalate  *EscalateError
		abandoned *AbandonedError
		panicked  *PanicError
	)
	switch {
	case err == nil:
		return "nil"
	case errors.As(err, &abandoned):
		text := "abandoned " + strings.Join(abandoned.Paths, ",")
		if abandoned.Hook {
			text += "+hook"
		}
		return text + " " + class(abandoned.Err)
	case errors.As(err, &tooMany):
		return "toomany " + tooMany.Child
	case errors.As(err, &escalate):
		return "escalate " + escalate.Child
	case errors.As(err, &panicked):
		return "panic"
	}
	for text, known := range map[string]error{
		"boom": errBoom, "goexit": ErrGoexit, "done": ErrDone, "verdict": ErrEscalate,
		"timeout": ErrStartTimeout, "duplicate": ErrDuplicate, "unknown": ErrUnknown,
		"stopping": ErrStopping, "cancelled": context.Canceled,
	} {
		if errors.Is(err, known) {
			return text
		}
	}
	return err.Error()
}

// log is everything that the model predicts, in one list: events in their order, then what calls
// returned by time.
func (tr *trace) log() []string {
	var log []string
	for _, e := range tr.events {
		log = append(log, line(e.Time.Sub(tr.origin), e.Kind, e.Child, e.Incarnation, e.Delay, class(e.Err)))
	}
	results := slices.Clone(tr.results)
	slices.Sort(results)
	return append(log, results...)
}

func line(at time.Duration, kind Kind, name string, incarnation uint64, delay time.Duration, err string) string {
	text := fmt.Sprintf("%v %v %s#%d", at, kind, name, incarnation)
	if kind == EventBackoff {
		text += fmt.Sprintf(" delay=%v", delay)
	}
	return text + " " + err
}
