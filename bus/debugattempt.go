package bus

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/deephash"
)

// checkedAttempt is one attempt under the eyes of a checker. The goroutine that handles
// the event uses it, and any that misuses the Delivery.
type checkedAttempt struct {
	c    *checker
	id   MessageID
	head head
	d    Delivery
	// typed says that the event never was encoded.
	typed bool
	over  atomic.Bool

	mu struct {
		sync.Mutex
		stages  []stageState
		decoded bool
		sums    sums // of the last look
	}
}

// stageState is what a stage did in this attempt, since it was entered last.
type stageState struct {
	open  bool // entered, and not left yet
	calls int  // of next
}

type attemptKey struct{}

// attemptOf is the attempt that d, or else ctx, belongs to; nil if it is none.
func attemptOf(ctx context.Context, d *Delivery) *checkedAttempt {
	if d != nil && d.check != nil {
		return d.check
	}
	a, _ := ctx.Value(attemptKey{}).(*checkedAttempt)
	return a
}

func newCheckedAttempt(c *checker, d *Delivery) *checkedAttempt {
	a := &checkedAttempt{c: c, id: d.ID(), head: *d.head, d: *d, typed: !d.encoded}
	value := reflect.New(d.info.typ)
	value.Elem().Set(reflect.ValueOf(d.value).Elem())
	a.d.head, a.d.value, a.d.check = &a.head, value.Interface(), a
	a.mu.stages = make([]stageState, len(c.stages))
	if a.shared() {
		d.info.shared.begin(a.head.seq, d.sub)
	}
	a.mu.sums = a.sum(a.typed)
	return a
}

// shared says that other subscriptions have the same value in hand.
func (a *checkedAttempt) shared() bool { return a.head.seq != 0 && a.d.info.shared != nil }

// end takes back what the attempt made of d.
func (a *checkedAttempt) end(d *Delivery) {
	a.over.Store(true)
	d.encoded = a.d.encoded
	if a.shared() {
		a.d.info.shared.end(a.head.seq)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.decoded {
		reflect.ValueOf(d.value).Elem().Set(reflect.ValueOf(a.d.value).Elem())
	}
}

// entered begins stage i. What has changed since the last look was changed by the stage
// around it.
func (a *checkedAttempt) entered(i int) {
	a.lookAt(i - 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.stages[i] = stageState{open: true}
}

// left ends stage i. acknowledged says that it returned nil.
func (a *checkedAttempt) left(i int, acknowledged bool) {
	a.lookAt(i)
	a.mu.Lock()
	st := &a.mu.stages[i]
	st.open = false
	skipped := acknowledged && st.calls == 0 && i < len(a.c.stages)-1
	a.mu.Unlock()
	if skipped {
		name := a.c.stages[i].name
		a.c.report("skipped "+name, fmt.Sprintf("%s returned nil and has not called next: event %s counts as handled, and no handler has seen it. "+
			"If that is meant, return bus.Discard with the reason", name, a.id))
	}
}

// callsNext is a call of next by stage i.
func (a *checkedAttempt) callsNext(i int) {
	a.mu.Lock()
	st := &a.mu.stages[i]
	st.calls++
	open, calls := st.open, st.calls
	a.mu.Unlock()
	name := a.c.stages[i].name
	switch {
	case !open:
		a.c.report("late next "+name, fmt.Sprintf("%s called next after it had returned, for event %s: it is settled by then", name, a.id))
	case !a.isHere():
		a.c.report("next elsewhere "+name, fmt.Sprintf("%s called next on another goroutine, for event %s: "+
			"a Delivery may be used on the goroutine only that it was given to", name, a.id))
	case calls == 2:
		a.c.report("next twice "+name, fmt.Sprintf("%s called next twice in one attempt, for event %s: "+
			"return bus.RetryAfter to have it attempted again", name, a.id))
	}
}

// used is a call of a method of the Delivery, or of a function that it is given to.
func (a *checkedAttempt) used(method string) {
	over := a.over.Load()
	if !over && a.isHere() {
		return
	}
	where := callSite()
	if over {
		a.c.report("late "+method+where, fmt.Sprintf("%s used %s after the attempt at event %s had returned: "+
			"a Delivery is valid until then. Keep what Clone returns", where, method, a.id))
		return
	}
	a.c.report("elsewhere "+method+where, fmt.Sprintf("%s used %s on another goroutine than the attempt's, at event %s: "+
		"keep what Clone returns, made before that goroutine starts", where, method, a.id))
}

// runAttempt calls h. Where the stack of a goroutine has the return from that call, the
// goroutine handles an event.
//
//go:noinline
func runAttempt(ctx context.Context, d *Delivery, h Handler) error {
	err := h(ctx, d)
	return err
}

// runAttemptName is the name of runAttempt in a stack.
var runAttemptName = runtime.FuncForPC(reflect.ValueOf(runAttempt).Pointer()).Name()

// returnPC is where h of runAttempt returns to, once that is known.
var returnPC atomic.Uintptr

// isHere tells whether the caller's goroutine handles events. That it handles this one
// is likely then, and not looked into: a lane's goroutine that uses the Delivery of
// another lane is not found.
func (a *checkedAttempt) isHere() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if known := returnPC.Load(); known != 0 {
			if slices.Contains(pcs[:n], known) {
				return true
			}
		} else if pc := findRunAttempt(pcs[:n]); pc != 0 {
			returnPC.Store(pc)
			return true
		}
		if n < len(pcs) {
			return false
		}
	}
}

// findRunAttempt is the address in runAttempt that is among pcs, or 0.
func findRunAttempt(pcs []uintptr) uintptr {
	for _, pc := range pcs {
		if f := runtime.FuncForPC(pc - 1); f != nil && f.Name() == runAttemptName {
			return pc
		}
	}
	return 0
}

// callSite is the function that called into this package, with file and line.
func callSite() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, packagePrefix) {
			return fmt.Sprintf("%s (%s:%d)", shortName(f.Function), filepath.Base(f.File), f.Line)
		}
		if !more {
			return "somebody"
		}
	}
}

// packagePrefix is what the names of this package's functions begin with.
var packagePrefix = strings.TrimSuffix(runAttemptName, "runAttempt")

// sums are the hashes of an event, as they are at one moment.
type sums struct {
	value, payload uint64
	hasValue       bool // it is decoded, and small enough to be looked at
}

func (a *checkedAttempt) sum(decoded bool) (s sums) {
	if decoded {
		s.value, s.hasValue = deephash.Sum(reflect.ValueOf(a.d.value).Elem())
	}
	if env := a.head.env; env != nil {
		s.payload, _ = deephash.Sum(reflect.ValueOf(env.Payload))
	}
	return s
}

// look looks at the event again, and returns what it was and is.
func (a *checkedAttempt) look(decodes bool) (before, now sums) {
	a.mu.Lock()
	a.mu.decoded = a.mu.decoded || decodes
	decoded := a.mu.decoded || a.typed
	a.mu.Unlock()
	now = a.sum(decoded)
	a.mu.Lock()
	defer a.mu.Unlock()
	before, a.mu.sums = a.mu.sums, now
	return before, now
}

// wasDecoded says that the value is there.
func (a *checkedAttempt) wasDecoded() { a.look(true) }

// lookAt reports what stage i has changed since the last look. -1 is the engine.
func (a *checkedAttempt) lookAt(i int) {
	before, now := a.look(false)
	if i < 0 {
		return
	}
	name := a.c.stages[i].name
	tell := func(what string) {
		others := ""
		if a.shared() {
			if names := a.d.info.shared.others(a.head.seq, a.d.sub); len(names) > 0 {
				others = fmt.Sprintf(", or %s did, in the same moments", strings.Join(names, " or "))
			}
		}
		a.c.report("changed "+what+name, fmt.Sprintf("%s changed the %s of event %s%s: events are shared, and must not be changed. "+
			"Change a copy", name, what, a.id, others))
	}
	if before.hasValue && now.hasValue && before.value != now.value {
		tell("value")
	}
	if before.payload != now.payload {
		tell("payload")
	}
}
