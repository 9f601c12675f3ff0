package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// lines is each entry's level and message, with the count of a summary.
func lines(logs *observer.ObservedLogs) []string {
	var out []string
	for _, e := range logs.All() {
		line := e.Level.String() + " " + e.Message
		if n, ok := e.ContextMap()["times"]; ok {
			line += fmt.Sprintf(" ×%d", n)
		}
		out = append(out, line)
	}
	return out
}

func wantLines(t *testing.T, logs *observer.ObservedLogs, want ...string) {
	t.Helper()
	if got := lines(logs); !slices.Equal(got, want) {
		t.Errorf("the log is\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// says is a handler that fails with the event's key.
func says(_ context.Context, m bus.Message[job]) error { return errors.New(m.Value.Key) }

// The first failure is logged whole.
func TestLoggingWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
			if m.Attempt == 1 {
				return errBroken
			}
			panic("worse")
		}, bus.Use(
			middleware.Logging(zap.New(core), middleware.LoggingConfig{}),
			middleware.Retry(middleware.RetryConfig{MaxAttempts: 2, InitialDelay: time.Second, Jitter: -1})))
		publish(t, topic, job{Key: "k"}, bus.ID("a"))
		shutdown(t, b, sub)
		wantLines(t, logs, "warn handler failed", "error handler failed")

		got := logs.All()[0].ContextMap()
		for field, want := range map[string]any{
			"topic": "jobs", "subscription": "worker", "id": "a", "key": "k", "attempt": int64(1),
			"next": "retry", "after": time.Second, "error": "retry after 1s: broken",
		} {
			if got[field] != want {
				t.Errorf("%s is %v, want %v", field, got[field], want)
			}
		}
		got = logs.All()[1].ContextMap()
		if stack := fmt.Sprint(got["stack"]); !strings.Contains(stack, "TestLoggingWhole") {
			t.Errorf("the stack is %s", stack)
		}
		if got["next"] != "dead letter" || got["error"] != "dead letter: gave up after 2 attempts: panic: worse" {
			t.Errorf("the second failure is %v", got)
		}
	})
}

// Repetitions are counted, and the summary comes by itself once failures have stopped. After it the
// log is silent.
func TestLoggingCollapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, says, bus.Use(middleware.Logging(zap.New(core), middleware.LoggingConfig{})))
		for i := range 100 {
			publish(t, topic, job{Key: "no route"}, bus.ID(fmt.Sprint("r", i)))
			if i < 7 {
				publish(t, topic, job{Key: "no money"})
			}
		}
		publish(t, topic, job{Key: "once"})
		time.Sleep(9 * time.Second)
		wantLines(t, logs, "error handler failed", "error handler failed", "error handler failed")
		time.Sleep(2 * time.Second)
		summaries := []string{"error handler failed again ×99", "error handler failed again ×6"}
		wantLines(t, logs, append([]string{"error handler failed", "error handler failed", "error handler failed"}, summaries...)...)
		got := logs.All()[3].ContextMap()
		for field, want := range map[string]any{
			"topic": "jobs", "subscription": "worker", "error": "no route", "next": "undecided",
			"within": 10 * time.Second, "last_id": "r99", "last_attempt": int64(1),
		} {
			if got[field] != want {
				t.Errorf("%s of the summary is %v, want %v", field, got[field], want)
			}
		}
		time.Sleep(time.Hour)
		if n := logs.Len(); n != 5 {
			t.Errorf("%d lines more after an hour", n-5)
		}
		// It begins again.
		publish(t, topic, job{Key: "no route"})
		synctest.Wait()
		if e := logs.All()[logs.Len()-1]; logs.Len() != 6 || e.Message != "handler failed" {
			t.Errorf("after an hour: %v", e)
		}
		shutdown(t, b, sub)
	})
}

// A failure that goes on makes two lines a period, however often it occurs.
func TestLoggingOfFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, fails, bus.Lanes(4), bus.Use(
			middleware.Logging(zap.New(core), middleware.LoggingConfig{Period: time.Minute})))
		for range 3600 {
			publish(t, topic, job{})
			time.Sleep(time.Second)
		}
		shutdown(t, b, sub)
		synctest.Wait()
		if n := logs.Len(); n < 110 || n > 122 {
			t.Errorf("%d lines in an hour", n)
		}
		total := 0
		for _, e := range logs.All() {
			if n, ok := e.ContextMap()["times"].(int64); ok {
				total += int(n)
			} else {
				total++
			}
		}
		if total != 3600 {
			t.Errorf("the log tells of %d failures of 3600", total)
		}
	})
}

// Different errors beyond MaxErrors share a summary.
func TestLoggingBoundsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, says, bus.Use(middleware.Logging(zap.New(core), middleware.LoggingConfig{MaxErrors: 2})))
		for i := range 1000 {
			publish(t, topic, job{Key: fmt.Sprint("error ", i)})
		}
		publish(t, topic, job{Key: "error 0"})
		time.Sleep(time.Minute)
		shutdown(t, b, sub)
		wantLines(t, logs, "error handler failed", "error handler failed",
			"error handler failed again ×1", "error handler failed in other ways ×998")
		if last := logs.All()[3].ContextMap()["last_error"]; last != "error 999" {
			t.Errorf("the last error is %v", last)
		}
	})
}

// Long texts are one kind when they begin alike.
func TestLoggingOfLongErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, says, bus.Use(middleware.Logging(zap.New(core), middleware.LoggingConfig{})))
		long := strings.Repeat("x", 1000)
		publish(t, topic, job{Key: long + "1"})
		publish(t, topic, job{Key: long + "2"})
		time.Sleep(time.Minute)
		shutdown(t, b, sub)
		wantLines(t, logs, "error handler failed", "error handler failed again ×1")
		if got := logs.All()[0].ContextMap()["error"]; got != long+"1" {
			t.Errorf("the first is cut: %v", got)
		}
	})
}

// The level is what the verdict deserves. Jittered delays do not make failures different.
func TestLoggingLevels(t *testing.T) {
	for name, tc := range map[string]struct {
		m    bus.Middleware
		err  error
		want []string
	}{
		"undecided":   {nil, errBroken, []string{"error handler failed", "error handler failed again ×1"}},
		"dead letter": {nil, bus.DeadLetter(nil), []string{"error handler failed", "error handler failed again ×1"}},
		"discard":     {nil, bus.Discard(errBroken), []string{"info event discarded", "info event discarded again ×1"}},
		"snooze":      {nil, bus.Snooze(time.Second), []string{"debug event snoozed", "debug event snoozed again ×19"}},
		"retry": {
			middleware.Retry(middleware.RetryConfig{MaxAttempts: 10, InitialDelay: time.Millisecond}), errBroken,
			[]string{"warn handler failed", "error handler failed", "warn handler failed again ×17", "error handler failed again ×1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.DebugLevel)
				chain := []bus.Middleware{middleware.Logging(zap.New(core), middleware.LoggingConfig{Period: time.Minute})}
				if tc.m != nil {
					chain = append(chain, tc.m)
				}
				b, topic := newTopic(t, bus.Config{})
				calls := 0
				sub := subscribe(t, topic, func(context.Context, bus.Message[job]) error {
					if calls++; calls > 20 {
						return nil
					}
					return tc.err
				}, bus.Use(chain...))
				publish(t, topic, job{})
				publish(t, topic, job{})
				time.Sleep(time.Hour)
				shutdown(t, b, sub)
				wantLines(t, logs, tc.want...)
			})
		})
	}
}

// The end of the subscription brings the summary at once, also of a Logging within a Timeout's
// context only by the timer.
func TestLoggingEndsWithSubscription(t *testing.T) {
	end := func(t *testing.T, chain ...bus.Middleware) time.Time {
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, fails, bus.Use(chain...))
		for range 3 {
			publish(t, topic, job{})
		}
		shutdown(t, b, sub)
		synctest.Wait()
		return time.Now()
	}
	t.Run("at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			end(t, middleware.Logging(zap.New(core), middleware.LoggingConfig{}))
			want := []string{"error handler failed", "error handler failed again ×2"}
			wantLines(t, logs, want...)
			time.Sleep(time.Hour)
			wantLines(t, logs, want...)
		})
	})
	t.Run("within a Timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			end(t, middleware.Timeout(time.Minute), middleware.Logging(zap.New(core), middleware.LoggingConfig{}))
			wantLines(t, logs, "error handler failed")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			wantLines(t, logs, "error handler failed", "error handler failed again ×2")
		})
	})
}

func TestLoggingSuccesses(t *testing.T) {
	for _, level := range []zapcore.Level{zap.DebugLevel, zap.InfoLevel} {
		core, logs := observer.New(level)
		b, topic := newTopic(t, bus.Config{})
		var r record
		sub := subscribe(t, topic, r.handle, bus.Use(middleware.Logging(zap.New(core), middleware.LoggingConfig{Successes: true})))
		publish(t, topic, job{Key: "k"}, bus.ID("a"))
		shutdown(t, b, sub)
		if level == zap.InfoLevel {
			wantLines(t, logs)
			continue
		}
		wantLines(t, logs, "debug event handled")
		if got := logs.All()[0].ContextMap(); got["id"] != "a" || got["key"] != "k" || got["attempt"] != int64(1) {
			t.Errorf("fields %v", got)
		}
	}
}

// A level that is off costs neither lines nor counts.
func TestLoggingLevelOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		b, topic := newTopic(t, bus.Config{})
		sub := subscribe(t, topic, func(context.Context, bus.Message[job]) error { return bus.Discard(errBroken) },
			bus.Use(middleware.Logging(zap.New(core), middleware.LoggingConfig{}), middleware.Logging(nil, middleware.LoggingConfig{})))
		publish(t, topic, job{})
		publish(t, topic, job{})
		shutdown(t, b, sub)
		time.Sleep(time.Hour)
		wantLines(t, logs)
	})
}

// A Key function that panics does not hide the failure that is logged.
func TestLoggingWithBrokenKey(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	b := must[*bus.Bus](t)(bus.New(bus.Config{}))
	topic := must[*bus.Topic[job]](t)(bus.NewTopic(b, bus.TopicConfig[job]{Name: "jobs", Key: func(job) string { panic("no key") }}))
	sub := subscribe(t, topic, func(context.Context, bus.Message[job]) error { return nil }, // asks for the key
		bus.Use(middleware.Logging(zap.New(core), middleware.LoggingConfig{}), func(bus.Handler) bus.Handler {
			return func(context.Context, *bus.Delivery) error { return errBroken }
		}))
	publish(t, topic, job{})
	shutdown(t, b, sub)
	wantLines(t, logs, "error handler failed")
	if got := logs.All()[0].ContextMap(); got["key"] != "!panic: no key" || got["error"] != "broken" {
		t.Errorf("fields %v", got)
	}
}

func BenchmarkLogging(b *testing.B) {
	benchmarkChain(b, delivery(), middleware.Logging(zap.NewNop(), middleware.LoggingConfig{}))
}
