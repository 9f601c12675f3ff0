package middleware_test

import (
	"context"
	"errors"
	"fmt"
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

// batchLog is the batches that a handler was given.
type batchLog struct{ keys [][]string }

func (l *batchLog) add(batch []bus.Message[job]) {
	var keys []string
	for _, m := range batch {
		keys = append(keys, m.Value.Key)
	}
	l.keys = append(l.keys, keys)
}

func (l *batchLog) require(t *testing.T, want ...[]string) {
	t.Helper()
	if !slices.EqualFunc(l.keys, want, slices.Equal) {
		t.Errorf("batches %q, want %q", l.keys, want)
	}
}

// batches subscribes h to batches that are complete when the test waits for them.
func batches(t testing.TB, topic *bus.Topic[job], h func(context.Context, []bus.Message[job]) error, use ...bus.Middleware) *bus.Subscription {
	t.Helper()
	return must[*bus.Subscription](t)(topic.SubscribeBatch(context.Background(), "worker", h, bus.BatchLinger(time.Millisecond), bus.Use(use...)))
}

func TestRetryInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, topic := newFake(t)
		var got batchLog
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
		var got batchLog
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

// All events of a batch time out, or none: also where a Timeout stands twice, and when events come
// again.
func TestTimeoutOfABatch(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			b, topic := newFake(t, bustest.AllowDeadLetters())
			begin := time.Now()
			calls := 0
			same := middleware.Timeout(time.Second)
			sub, err := topic.SubscribeBatch(t.Context(), "worker", func(ctx context.Context, _ []bus.Message[job]) error {
				calls++
				<-ctx.Done()
				if i%2 == 0 {
					return ctx.Err()
				}
				return context.Cause(ctx)
			}, bus.Use(middleware.Dedup(middleware.DedupConfig{}), same,
				middleware.Retry(middleware.RetryConfig{MaxAttempts: 2, InitialDelay: time.Second, Jitter: -1}), same), bus.BatchSize(80))
			if err != nil {
				t.Fatal(err)
			}
			sub.Pause()
			for n := range 80 {
				publish(t, topic, job{Key: fmt.Sprint("k", n%50), N: n})
			}
			sub.Resume()
			bustest.WaitIdle(t, b)
			if took := time.Since(begin); took < 3*time.Second || took > 20*time.Second {
				t.Errorf("the batches took %v", took)
			}
			letters := sub.DeadLetters()
			if len(letters) != 80 {
				t.Fatalf("%d dead letters, want 80", len(letters))
			}
			for _, l := range letters {
				if !errors.Is(l.Err, context.DeadlineExceeded) || !errors.Is(l.Err, middleware.ErrTimeout) {
					t.Errorf("dead letter for %v", l.Err)
				}
			}
		})
	}
}

// Each batch, and each subscription, has a deadline of its own, also where one Timeout is shared
// and contexts are handed on.
func TestTimeoutsOfBatchesAreTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, topic := newFake(t)
		shared := middleware.Timeout(time.Second)
		var took []time.Duration
		measure := func(ctx context.Context) {
			begin := time.Now()
			select {
			case <-ctx.Done():
				took = append(took, time.Since(begin))
			case <-time.After(time.Minute):
				t.Error("no deadline")
			}
		}
		inner := 0
		sub := batches(t, topic, func(ctx context.Context, batch []bus.Message[job]) error {
			time.Sleep(500 * time.Millisecond)
			if inner++; inner == 1 { // its values are those of the handlers below
				_, err := topic.SubscribeBatch(ctx, "other", func(ctx context.Context, _ []bus.Message[job]) error {
					measure(ctx)
					return nil
				}, bus.Use(shared))
				if err != nil {
					t.Error(err)
				}
				publish(t, topic, job{Key: "x"})
			}
			time.Sleep(400 * time.Millisecond)
			return ctx.Err()
		}, shared)
		publish(t, topic, job{Key: "a"})
		publish(t, topic, job{Key: "b"})
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, d := range took {
			if d != time.Second {
				t.Errorf("ended after %v, want 1s", d)
			}
		}
		if st := sub.Stats(); st.Handled != 3 || len(took) != 1 {
			t.Errorf("%v, %v", st, took)
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
		var got batchLog
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
