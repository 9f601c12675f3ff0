package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// faultKind is what a fault does to an event.
type faultKind uint8

const (
	failing faultKind = iota
	losingReply
	dropping
	duplicating
	reordering
	delaying
)

// fault is something to be done to the next events that a bus publishes.
type fault struct {
	kind  faultKind
	topic string // "" is any
	left  int    // events still to be met
	err   error
	delay time.Duration
	held  []*transport.Envelope // of reordering
}

// Faults counts the events that faults have met on a bus.
type Faults struct {
	// Failed publishes returned the error of FailPublish, or of a connection that
	// was taken away: the broker has not accepted them.
	Failed uint64
	// RepliesLost publishes returned the error of LoseReply: the broker has accepted
	// them.
	RepliesLost uint64
	// Dropped events of this bus were lost behind the broker: a Gap at each of their
	// subscribers.
	Dropped uint64
	// Duplicated and Redelivered count the copies that were published besides.
	Duplicated, Redelivered uint64
	// Reordered and Delayed events of this bus were held back, or still are.
	Reordered, Delayed uint64
	// Injected payloads were published by Inject.
	Injected uint64
	// Missed events of others did not reach this bus while it was disconnected or
	// severed: each lies in a Gap, once the connection is back.
	Missed uint64
	// Held events are held back now.
	Held uint64
}

// Faults reads the counters.
func (b *Bus) Faults() Faults {
	b.t.Helper()
	l := b.needTransport("Faults")
	if l == nil {
		return Faults{}
	}
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	count := l.count
	count.Held = uint64(len(l.later))
	for _, f := range l.faults {
		count.Held += uint64(len(f.held))
	}
	return count
}

// errPublished marks the error of a publish that the broker accepted.
var errPublished = errors.New("the broker has accepted it")

// set adds a fault; name is the method that does.
func (b *Bus) set(name string, f *fault) {
	b.t.Helper()
	l := b.needTransport(name)
	switch {
	case l == nil:
		return
	case f.left < 1:
		b.t.Fatalf("bustest: a fault for %d events does nothing", f.left)
	case f.err == nil && (f.kind == failing || f.kind == losingReply):
		b.t.Fatalf("bustest: a Publish that fails needs an error, and it is nil")
	case f.delay < 0:
		b.t.Fatalf("bustest: a Delay of %v is in the past", f.delay)
	}
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	l.faults = append(l.faults, f)
}

// nextFaultLocked is the fault that meets an event on a topic, or nil.
func (l *faultTransport) nextFaultLocked(topic string) *fault {
	for _, f := range l.faults {
		if f.left > 0 && (f.topic == "" || f.topic == topic) {
			f.left--
			return f
		}
	}
	return nil
}

// dismissLocked forgets faults that are used up.
func (l *faultTransport) dismissLocked() {
	l.faults = slices.DeleteFunc(l.faults, func(f *fault) bool { return f.left == 0 && len(f.held) == 0 })
}

// publishFaulty publishes env as the faults want it.
func (l *faultTransport) publishFaulty(ctx context.Context, env *transport.Envelope) transport.Result {
	if ctx.Err() != nil {
		return transport.Result{Err: context.Cause(ctx)}
	}
	h := l.broker
	h.mu.Lock()
	if err := l.reachableLocked(); err != nil {
		l.count.Failed++
		h.mu.Unlock()
		return transport.Result{Err: err}
	}
	f := l.nextFaultLocked(env.Topic)
	if f == nil {
		h.mu.Unlock()
		return l.write(ctx, env)
	}
	var ready []*transport.Envelope
	switch f.kind {
	case failing:
		l.count.Failed++
	case losingReply:
		l.count.RepliesLost++
	case dropping:
		l.count.Dropped++
		if h.mu.dropped == nil {
			h.mu.dropped = make(map[*transport.Envelope]struct{})
		}
		h.mu.dropped[env] = struct{}{}
	case duplicating:
		l.count.Duplicated++
	case reordering:
		l.count.Reordered++
		f.held = append(f.held, env)
		h.mu.held++
		if f.left == 0 {
			ready, f.held = f.held, nil
			slices.Reverse(ready)
		}
	case delaying:
		l.count.Delayed++
		h.mu.held++
		l.holdLocked(env, time.Now().Add(f.delay))
	}
	l.dismissLocked()
	h.mu.Unlock()
	return l.enact(ctx, f, env, ready)
}

// enact is publishFaulty's work outside the lock.
func (l *faultTransport) enact(ctx context.Context, f *fault, env *transport.Envelope, ready []*transport.Envelope) transport.Result {
	switch f.kind {
	case failing:
		return transport.Result{Err: f.err}
	case losingReply:
		l.write(ctx, env)
		return transport.Result{Err: &acceptedError{f.err}}
	case dropping:
		result := l.write(ctx, env)
		l.broker.mu.Lock()
		defer l.broker.mu.Unlock()
		delete(l.broker.mu.dropped, env)
		return result
	case duplicating:
		again := *env
		result := l.write(ctx, env)
		l.write(ctx, &again)
		return result
	case reordering:
		l.writeHeld(ready)
	default: // delaying: the timer writes it
	}
	return transport.Result{Receivers: -1}
}

// acceptedError is the error of a publish that got through; it reads like the one
// within.
type acceptedError struct{ error }

func (e *acceptedError) Unwrap() []error { return []error{e.error, errPublished} }

// writeHeld writes envelopes that were held back, which counts as held until they
// have arrived.
func (l *faultTransport) writeHeld(envs []*transport.Envelope) {
	for _, env := range envs {
		l.write(l.ctx, env)
	}
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	l.broker.mu.held -= len(envs)
	l.broker.changes.Notify()
}

// holdLocked keeps env until due.
func (l *faultTransport) holdLocked(env *transport.Envelope, due time.Time) {
	i := len(l.dueAt)
	for i > 0 && l.dueAt[i-1].After(due) {
		i--
	}
	l.later, l.dueAt = slices.Insert(l.later, i, env), slices.Insert(l.dueAt, i, due)
	if i == 0 {
		l.armLocked()
	}
}

// armLocked sets the timer for the first that is held.
func (l *faultTransport) armLocked() {
	l.disarmLocked()
	if len(l.dueAt) == 0 {
		return
	}
	l.timing.Add(1)
	l.timer = time.AfterFunc(time.Until(l.dueAt[0]), func() {
		defer l.timing.Done()
		l.flow()
	})
}

func (l *faultTransport) disarmLocked() {
	if l.timer != nil && l.timer.Stop() {
		l.timing.Done()
	}
	l.timer = nil
}

// flow writes what is due, in order. There is one writer at a time; who finds
// another at work leaves it to him.
func (l *faultTransport) flow() {
	h := l.broker
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.flowing {
		return
	}
	l.flowing = true
	for len(l.later) > 0 && !l.gone && !time.Now().Before(l.dueAt[0]) {
		env := l.later[0]
		l.later, l.dueAt = slices.Delete(l.later, 0, 1), slices.Delete(l.dueAt, 0, 1)
		h.mu.Unlock()
		l.writeHeld([]*transport.Envelope{env})
		h.mu.Lock()
	}
	l.flowing = false
	l.armLocked()
}

// describeHeld says what is held back.
func (l *faultTransport) describeHeld() (texts []string) {
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	if n := len(l.later); n > 0 {
		texts = append(texts, fmt.Sprintf("Delay holds %d events, the first for %v", n, time.Until(l.dueAt[0])))
	}
	for _, f := range l.faults {
		if len(f.held) > 0 {
			texts = append(texts, fmt.Sprintf("Reorder holds %d events until %d more come", len(f.held), f.left))
		}
	}
	return texts
}

// cut takes the bus's connection away for good: nothing of the bus gets out any
// more, nothing gets in, and what was held back is lost.
func (l *faultTransport) cut() {
	l.broker.mu.Lock()
	l.gone = true
	l.broker.mu.held -= len(l.later)
	l.later, l.dueAt = nil, nil
	for _, f := range l.faults {
		l.broker.mu.held -= len(f.held)
	}
	l.faults = nil
	l.disarmLocked()
	l.broker.changes.Notify()
	l.broker.mu.Unlock()
	l.timing.Wait()
}
