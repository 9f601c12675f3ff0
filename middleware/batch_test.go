package middleware_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/middleware"
)

// This file is what each middleware does around a handler of batches.

// lots are the batches that a handler was given.
type lots struct{ keys [][]string }

func (l *lots) add(batch []bus.Message[job]) {
	var keys []string
	for _, m := range batch {
		keys = append(keys, m.Value.Key)
	}
	l.keys = append(l.keys, keys)
}

func (l *lots) require(t *testing.T, want ...[]string) {
	t.Helper()
	if !slices.EqualFunc(l.keys, want, slices.Equal) {
		t.Errorf("batches %q, want %q", l.keys, want)
	}
}

// batches subscribes h to batches that are complete when the test waits for them.
func batches(t testing.TB, topic *bus.Topic[job], h func(context.Context, []bus.Message[job]) error, use ...bus.Middleware) *bus.Subscription {
	t.Helper()
	return must[*bus.Subscription](t)(topic.SubscribeBatch(context.Background(), "worker", h, bus.Linger(time.Millisecond), bus.Use(use...)))
}

func TestRetryInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newFake(t)
		var got lots
		var after []time.Duration
		begin := time.Now()
		sub := batches(t, topic, func(_ context.Context, batch []bus.Message[job]) error {
			got.add(batch)
			after = append(after, time.Since(begin).Truncate(time.Second))
			i := slices.IndexFunc(batch, func(m bus.Message[job]) bool { return m.Value.Key == "bad" && m.Attempt < 3 })
			if i < 0 {
				return nil
			}
			return &bus.BatchError{Failed: []bus.IndexedError{{Index: i, Err: errBroken}}}
		}, middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialDelay: time.Second, Multiplier: 2, Jitter: -1}))
		for _, key := range []string{"a", "bad", "c"} {
			publish(t, topic, job{Key: key})
		}
		bustest.WaitHandled(t, sub, 3)
		got.require(t, []string{"a", "bad", "c"}, []string{"bad"}, []string{"bad"})
		if want := []time.Duration{0, time.Second, 3 * time.Second}; !slices.Equal(after, want) {
			t.Errorf("handled after %v, want %v", after, want)
		}
		if st := sub.Stats(); st.Failed != 2 || st.Retried != 2 {
			t.Errorf("%v, failed %d, retried %d", st, st.Failed, st.Retried)
		}
		bustest.WaitIdle(t, b)
	})
}

func TestDedupInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newFake(t)
		var got lots
		sub := batches(t, topic, func(_ context.Context, batch []bus.Message[job]) error {
			got.add(batch)
			return nil
		}, middleware.Dedup(middleware.DedupConfig{}))
		publish(t, topic, job{Key: "a"}, bus.ID("1"))
		publish(t, topic, job{Key: "b"}, bus.ID("2"))
		publish(t, topic, job{Key: "again"}, bus.ID("1"))
		bustest.WaitIdle(t, b)
		publish(t, topic, job{Key: "later"}, bus.ID("2"))
		publish(t, topic, job{Key: "c"}, bus.ID("3"))
		bustest.WaitIdle(t, b)
		for _, keys := range got.keys {
			if slices.Contains(keys, "again") || slices.Contains(keys, "later") {
				t.Errorf("batches %q have repetitions", got.keys)
			}
		}
		if st := sub.Stats(); st.Accepted != 5 || st.Pending() != 0 || st.DeadLettered != 0 {
			t.Errorf("%v", st)
		}
		if n := len(slices.Concat(got.keys...)); n != 3 {
			t.Errorf("%d events in batches, want 3: %q", n, got.keys)
		}
	})
}

func TestTimeoutOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newFake(t, bustest.AllowDeadLetters())
		begin := time.Now()
		sub := batches(t, topic, func(ctx context.Context, _ []bus.Message[job]) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, middleware.Timeout(time.Second))
		for _, key := range []string{"a", "b"} {
			publish(t, topic, job{Key: key})
		}
		bustest.WaitIdle(t, b)
		if took := time.Since(begin); took < time.Second || took > time.Second+10*time.Millisecond {
			t.Errorf("the batch took %v, want 1s", took)
		}
		letters := sub.DeadLetters()
		if len(letters) != 2 {
			t.Fatalf("%d dead letters, want 2", len(letters))
		}
		for _, l := range letters {
			if !errors.Is(l.Err, context.DeadlineExceeded) {
				t.Errorf("dead letter for %v", l.Err)
			}
		}
	})
}

func TestLoggingInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b, topic := newFake(t, bustest.AllowDeadLetters())
		batches(t, topic, func(_ context.Context, batch []bus.Message[job]) error {
			return &bus.BatchError{Failed: []bus.IndexedError{{Index: 1, Err: errBroken}}}
		}, middleware.Logging(zap.New(core), middleware.LoggingConfig{}))
		for _, key := range []string{"a", "bad", "c"} {
			publish(t, topic, job{Key: key})
		}
		bustest.WaitIdle(t, b)
		failures := logs.Filter(func(e observer.LoggedEntry) bool { return e.Level >= zap.WarnLevel }).All()
		if len(failures) != 1 || failures[0].ContextMap()["key"] != "bad" {
			t.Errorf("failures logged: %v, want one, of the key bad", failures)
		}
	})
}

func TestCodecInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newFake(t, bustest.AllowDeadLetters())
		var got lots
		sub := batches(t, topic, func(_ context.Context, batch []bus.Message[job]) error {
			got.add(batch)
			return nil
		}, middleware.Codec(codec.JSON))
		publish(t, topic, job{Key: "a"})
		b.Poison(topic.Name(), []byte("{"))
		publish(t, topic, job{Key: "c"})
		bustest.WaitIdle(t, b)
		if n := len(slices.Concat(got.keys...)); n != 2 {
			t.Errorf("%d events in batches, want 2: %q", n, got.keys)
		}
		if st := sub.Stats(); st.Handled != 2 || st.DeadLettered != 1 {
			t.Errorf("%v", st)
		}
	})
}
