package bustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// ActorOutcome is what became of the events of [CallActor], and of the actors that got them.
type ActorOutcome struct {
	// Events has the outcome of each event, in their order.
	Events []Outcome
	// Actors has one entry for each call of build, in order.
	Actors []ActorRun
}

// ActorRun is the life of one actor.
type ActorRun struct {
	Key string
	// BuildErr is what build returned. The actor never was if it is not nil.
	BuildErr error
	// Events are the indexes of the events that its Handle was called with, in order.
	Events []int
	// Stopped says that it was passivated or its subscription ended: then its Stop was called, if it
	// has one, and returned StopErr. It is false after a panic, which drops the actor.
	Stopped bool
	StopErr error
}

// Handled reports whether all events were acknowledged.
func (o ActorOutcome) Handled() bool { return allHandled(o.Events) }

// String shows the actors, and the outcome of each event.
func (o ActorOutcome) String() string {
	var text strings.Builder
	for _, a := range o.Actors {
		fmt.Fprintf(&text, "actor %q: events %v", a.Key, a.Events)
		switch {
		case a.BuildErr != nil:
			fmt.Fprintf(&text, ", not built: %v", a.BuildErr)
		case a.StopErr != nil:
			fmt.Fprintf(&text, ", stopped: %v", a.StopErr)
		case a.Stopped:
			text.WriteString(", stopped")
		}
		text.WriteByte('\n')
	}
	return text.String() + describeOutcomes(o.Events)
}

// CallActor is [Call] for the actors of Spawn and any number of events, of one key or of many: it
// shows the state that an actor keeps from one event of its key to the next, and who is built anew.
// [OnTopic] gives the key. [Spawned] sets options. When all events are settled the subscription
// ends, so that each actor that is left is stopped.
func CallActor[T any](t testing.TB, build func(ctx context.Context, key string) (bus.Actor[T], error), events []T, opts ...CallOption) ActorOutcome {
	t.Helper()
	c := begin[T](t, "CallActor", "Spawned", opts)
	defer c.end()
	var runs actorRuns
	if build != nil {
		build = recordActors(&runs, build)
	}
	sub, err := c.topic.Spawn(t.Context(), handlerName, build, append(c.spawn, bus.Use(append(c.middleware(), noteEvent)...))...)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	c.publishAll(events)
	WaitIdle(t, c.bus)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), c.bus.waitTimeout())
	defer cancel()
	outcomes := c.outcomes(sub, len(events)) // before it ends: Err says why it did
	if err := sub.Drain(ctx); err != nil {
		t.Errorf("bustest: %v", err)
	}
	return ActorOutcome{Events: outcomes, Actors: runs.indexed(c.index(len(events)))}
}

// eventKey is the ID of the event that an actor handles, in its context.
type eventKey struct{}

// noteEvent is the innermost middleware: Handle of an actor does not see which event it gets.
func noteEvent(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		return next(context.WithValue(ctx, eventKey{}, d.ID().String()), d)
	}
}

// actorRuns records the lives of actors.
type actorRuns struct {
	mu struct {
		sync.Mutex
		runs []ActorRun
		ids  [][]string // of the events of each actor
	}
}

// recordActors is build, with what it builds recorded in runs.
func recordActors[T any](runs *actorRuns, build func(context.Context, string) (bus.Actor[T], error)) func(context.Context, string) (bus.Actor[T], error) {
	return func(ctx context.Context, key string) (bus.Actor[T], error) {
		n := runs.add(key)
		err := errPanicked
		defer func() { runs.update(n, func(r *ActorRun) { r.BuildErr = err }) }()
		a, buildErr := build(ctx, key)
		if err = buildErr; err != nil || a.Handle == nil {
			return a, err
		}
		handle, stop := a.Handle, a.Stop
		if stop == nil {
			stop = func(context.Context) error { return nil }
		}
		a.Handle = func(ctx context.Context, event T) error {
			runs.handles(ctx, n)
			return handle(ctx, event)
		}
		a.Stop = func(ctx context.Context) error {
			err := errPanicked
			defer func() { runs.update(n, func(r *ActorRun) { r.Stopped, r.StopErr = true, err }) }()
			err = stop(ctx)
			return err
		}
		return a, nil
	}
}

func (r *actorRuns) add(key string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.runs, r.mu.ids = append(r.mu.runs, ActorRun{Key: key}), append(r.mu.ids, nil)
	return len(r.mu.runs) - 1
}

func (r *actorRuns) update(n int, f func(*ActorRun)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.mu.runs[n])
}

// handles notes that an actor handles the event of ctx.
func (r *actorRuns) handles(ctx context.Context, n int) {
	id, _ := ctx.Value(eventKey{}).(string)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ids[n] = append(r.mu.ids[n], id)
}

// indexed is the runs with their events' indexes.
func (r *actorRuns) indexed(index map[string]int) []ActorRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.mu.runs {
		for _, id := range r.mu.ids[n] {
			if i, ok := index[id]; ok {
				r.mu.runs[n].Events = append(r.mu.runs[n].Events, i)
			}
		}
	}
	return slices.Clone(r.mu.runs)
}
