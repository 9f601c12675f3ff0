package middleware_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// job is the event of these tests.
type job struct {
	Key string
	N   int
}

var jobs = bus.TopicConfig[job]{Name: "jobs", Key: func(j job) string { return j.Key }}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newTopic is the topic of jobs on a bus of its own, which the caller closes where it runs in a
// bubble.
func newTopic(t testing.TB, cfg bus.Config) (*bus.Bus, *bus.Topic[job]) {
	t.Helper()
	b := must[*bus.Bus](t)(bus.New(cfg))
	return b, must[*bus.Topic[job]](t)(bus.NewTopic(b, jobs))
}

// newFake is the same on a fake bus: events are encoded on their way, and the test's end looks at
// what is left.
func newFake(t testing.TB, opts ...bustest.Option) (*bustest.Bus, *bus.Topic[job]) {
	t.Helper()
	b := bustest.New(t, opts...)
	return b, must[*bus.Topic[job]](t)(bus.NewTopic(b.Bus, jobs))
}

func subscribe(t testing.TB, topic *bus.Topic[job], h func(context.Context, bus.Message[job]) error, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	return must[*bus.Subscription](t)(topic.SubscribeMessage(context.Background(), "worker", h, opts...))
}

func publish(t testing.TB, topic *bus.Topic[job], j job, opts ...bus.PublishOption) {
	t.Helper()
	if err := topic.Publish(context.Background(), j, opts...); err != nil {
		t.Fatal(err)
	}
}

// shutdown ends the bus in order and checks the ledger.
func shutdown(t testing.TB, b *bus.Bus, subs ...*bus.Subscription) {
	t.Helper()
	if err := b.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		if st := s.Stats(); !st.Balanced() || st.Pending() != 0 {
			t.Errorf("the ledger does not add up: %v", st)
		}
	}
}

// spy is a middleware that keeps what comes out of the chain further in.
type spy struct {
	mu   sync.Mutex
	errs []error // guarded by mu
}

func (s *spy) middleware(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		err := next(ctx, d)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs = append(s.errs, err)
		return err
	}
}

func (s *spy) seen() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.errs...)
}

// benchmarkChain measures a chain alone, without the engine around it.
func benchmarkChain(b *testing.B, d *bus.Delivery, m ...bus.Middleware) {
	handled := 0
	h := func(context.Context, *bus.Delivery) error { handled++; return nil }
	ctx := b.Context()
	run := chain(h, m...)
	b.ReportAllocs()
	for b.Loop() {
		if err := run(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
	if handled != b.N {
		b.Fatalf("handled %d of %d", handled, b.N)
	}
}

// chain composes middleware as the engine does.
func chain(h bus.Handler, m ...bus.Middleware) bus.Handler {
	for _, mw := range slices.Backward(m) {
		h = mw(h)
	}
	return h
}

// delivery is an event handed over in-process.
func delivery() *bus.Delivery { return bustest.TypedDelivery(jobs, job{Key: "k"}) }
