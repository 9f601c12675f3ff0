package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID    string
	Cents int
}

type invoice struct{ Order string }

var (
	orders   = bus.TopicConfig[order]{Name: "orders", Key: func(o order) string { return o.ID }}
	invoices = bus.TopicConfig[invoice]{Name: "invoices"}
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func topicOf[T any](t testing.TB, b *bustest.Bus, cfg bus.TopicConfig[T]) *bus.Topic[T] {
	t.Helper()
	return must[*bus.Topic[T]](t)(bus.NewTopic(b.Bus, cfg))
}

// publish publishes orders of those IDs.
func publish(t testing.TB, b *bustest.Bus, ids ...string) {
	t.Helper()
	topic := topicOf(t, b, orders)
	for _, id := range ids {
		if err := topic.Publish(t.Context(), order{ID: id, Cents: 100}); err != nil {
			t.Fatal(err)
		}
	}
}

// billing is the code under test of this package: it answers orders with invoices.
// An order of no cents it refuses.
func billing(t testing.TB, b *bustest.Bus, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	out := topicOf(t, b, invoices)
	return must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "billing",
		func(ctx context.Context, o order) error {
			if o.Cents == 0 {
				return errNothingToPay
			}
			return out.Publish(ctx, invoice{Order: o.ID})
		}, opts...))
}

var errNothingToPay = errors.New("nothing to pay")

// ids are those of orders, in order.
func ids(msgs []bus.Message[order]) string {
	var all []string
	for _, m := range msgs {
		all = append(all, m.Value.ID)
	}
	return strings.Join(all, " ")
}

// fakeT catches what a helper does to its test.
type fakeT struct {
	testing.TB
	mu       sync.Mutex
	failures []string // guarded by mu
	logs     []string // guarded by mu
	cleanups []func()
}

func (f *fakeT) Helper()           {}
func (f *fakeT) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }

func (f *fakeT) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fakeT) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(f)
}

// finish runs the clean-ups and returns all failures.
func (f *fakeT) finish() string {
	for _, fn := range slices.Backward(f.cleanups) {
		fn()
	}
	f.cleanups = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.failures, "\n")
}

// failure runs f with a test of its own, which it must fail at once, and returns
// with what words.
func failure(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	ft := &fakeT{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(ft) {
				panic(r)
			}
		}()
		f(ft)
	}()
	text := ft.finish()
	if text == "" {
		t.Error("it did not fail the test")
	}
	return text
}

// requireText compares a failure with what it should read like.
func requireText(t testing.TB, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func replace(text, old, by string) string { return strings.ReplaceAll(text, old, by) }

func requireContains(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

func joined(all []string) string { return strings.Join(all, " ") }

// noTransport is a transport that New refuses before it is used.
type noTransport struct{ transport.Transport }
