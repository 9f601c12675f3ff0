package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// BatchOutcome is what became of the events of [CallBatch].
type BatchOutcome struct {
	// Events has the outcome of each event, in their order. An attempt took as long as its batch,
	// since the chains of a batch are nested.
	Events []Outcome
	// Batches are the calls of the handler, in the order in which they began.
	Batches []BatchCall
}

// BatchCall is one call of a batch handler.
type BatchCall struct {
	// Events are the indexes of the batch's events.
	Events []int
	// Err is what the handler returned, or says that it panicked.
	Err error
	// Began is when it began, and Took how long it ran.
	Began time.Time
	Took  time.Duration
}

// errPanicked is in place of what a function returns that panicked.
var errPanicked = errors.New("it panicked")

// Handled reports whether all events were acknowledged.
func (o BatchOutcome) Handled() bool { return allHandled(o.Events) }

// String shows the calls of the handler, and the outcome of each event.
func (o BatchOutcome) String() string {
	var text strings.Builder
	for _, b := range o.Batches {
		fmt.Fprintf(&text, "batch %v: %v\n", b.Events, b.Err)
	}
	return text.String() + describeOutcomes(o.Events)
}

// allHandled tells whether all events were acknowledged.
func allHandled(events []Outcome) bool {
	for _, e := range events {
		if !e.Handled() {
			return false
		}
	}
	return true
}

// describeOutcomes shows events with their indexes.
func describeOutcomes(events []Outcome) string {
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = fmt.Sprintf("event %d: %s", i, strings.ReplaceAll(e.String(), "\n", "\n  "))
	}
	return strings.Join(lines, "\n")
}

// CallBatch is [Call] for the handler of SubscribeBatch and any number of events. All are in the
// mailbox before the handler is called first, so it gets full batches: of bus.BatchSize, by default
// 100 events. [SubscribedBatch] sets that and other options. The mailbox has room for all events
// unless bus.Mailbox says otherwise.
func CallBatch[T any](t testing.TB, h func(ctx context.Context, batch []bus.Message[T]) error, events []T, opts ...CallOption) BatchOutcome {
	t.Helper()
	c := begin[T](t, "CallBatch", "SubscribedBatch", opts)
	defer c.end()
	var calls batchCalls
	if h != nil {
		h = recordBatches(&calls, h)
	}
	options := append([]bus.BatchOption{bus.Mailbox(max(len(events), 1), bus.Block)}, c.subscribeBatch...)
	sub, err := c.topic.SubscribeBatch(t.Context(), handlerName, h, append(options, bus.Use(c.middleware()...))...)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	sub.Pause()
	c.publishAll(events)
	await(c.bus.waitTimeout(), []source{c.bus.mode, c.bus.view}, func() bool { return sub.Stats().Accepted >= uint64(len(events)) })
	sub.Resume()
	WaitIdle(t, c.bus)
	return BatchOutcome{Events: c.outcomes(sub, len(events)), Batches: calls.indexed(c.index(len(events)))}
}

// batchCalls records the calls of a batch handler.
type batchCalls struct {
	mu struct {
		sync.Mutex
		calls []BatchCall
		ids   [][]string // of the events of each call
	}
}

// recordBatches is h, recorded in calls.
func recordBatches[T any](calls *batchCalls, h func(context.Context, []bus.Message[T]) error) func(context.Context, []bus.Message[T]) error {
	return func(ctx context.Context, batch []bus.Message[T]) error {
		ids := make([]string, len(batch))
		for i, m := range batch {
			ids[i] = m.ID.String()
		}
		end := calls.begin(ids)
		err := errPanicked
		defer func() { end(err) }()
		err = h(ctx, batch)
		return err
	}
}

// begin records a call. end adds what it returned.
func (c *batchCalls) begin(ids []string) (end func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, began := len(c.mu.calls), time.Now()
	c.mu.calls, c.mu.ids = append(c.mu.calls, BatchCall{Began: began}), append(c.mu.ids, ids)
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.calls[n].Err, c.mu.calls[n].Took = err, time.Since(began)
	}
}

// indexed is the calls with their events' indexes.
func (c *batchCalls) indexed(index map[string]int) []BatchCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.mu.calls {
		for _, id := range c.mu.ids[n] {
			if i, ok := index[id]; ok {
				c.mu.calls[n].Events = append(c.mu.calls[n].Events, i)
			}
		}
	}
	return c.mu.calls
}
