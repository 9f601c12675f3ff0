package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
)

// ErrNotHandled: an event was neither acknowledged nor given up by its handler.
var ErrNotHandled = errors.New("not handled")

// Outcome is what became of an event of [Call], [CallBatch] or [CallActor].
type Outcome struct {
	// Action is 0 if the event was acknowledged, ActionDeadLetter or ActionDiscard if it was given
	// up.
	Action bus.Action
	// Err is why it was not acknowledged: why it was given up, or ErrNotHandled if its mailbox
	// dropped it or its subscription ended before. nil if it was acknowledged.
	Err error
	// Attempts are all attempts, in order. There is none if the event never reached the chain.
	Attempts []Attempt
	// Letter is the dead letter; nil if the event is none.
	Letter *bus.Letter
	// Logs is what the bus, and middleware of UseWith, logged.
	Logs []observer.LoggedEntry
	// Stats is the subscription's ledger: one event was accepted, and it is settled. Of several
	// events it is the ledger of all, as Logs are.
	Stats bus.Stats
}

// Attempt is one run of the chain.
type Attempt struct {
	// Number is what Delivery.Attempt returned: a snooze does not count.
	Number int
	// Err is what the outermost middleware returned, mostly a verdict. nil acknowledged the event.
	Err error
	// Began is when it began, and Took how long it ran.
	Began time.Time
	Took  time.Duration
}

// Verdict returns the verdict on the attempt, and whether there was one. An error without a verdict
// is a dead letter, nil an acknowledgement.
func (a Attempt) Verdict() (*bus.Verdict, bool) { return bus.VerdictOf(a.Err) }

// Handled reports whether the event was acknowledged.
func (o Outcome) Handled() bool { return o.Action == 0 && o.Err == nil }

// String shows the outcome in one line, and each attempt in one more.
func (o Outcome) String() string {
	var text strings.Builder
	switch {
	case o.Handled():
		text.WriteString("handled")
	case o.Action == 0:
		text.WriteString(o.Err.Error())
	default:
		fmt.Fprintf(&text, "%v: %v", o.Action, o.Err)
	}
	for _, a := range o.Attempts {
		fmt.Fprintf(&text, "\n  attempt %d: %v", a.Number, a.Err)
	}
	return text.String()
}

// Call publishes one event on a bus of its own and runs it through the real chain: encoded and
// decoded, or not with [InProcess], the middleware, the handler, and each further attempt that a
// verdict asks for, at its time. It returns when the outcome is final. In a synctest bubble back-off
// takes no time.
func Call[T any](t testing.TB, h func(ctx context.Context, event T) error, event T, opts ...CallOption) Outcome {
	t.Helper()
	c := begin[T](t, "Call", "Subscribed", opts)
	defer c.end()
	sub, err := c.topic.Subscribe(t.Context(), handlerName, h, append(c.subscribe, bus.Use(c.middleware()...))...)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	if err := c.topic.Publish(t.Context(), event, c.publish...); err != nil {
		t.Fatalf("bustest: %v", err)
	}
	WaitIdle(t, c.bus)
	for _, o := range c.outcomes(sub, 1) {
		return o
	}
	return Outcome{}
}
