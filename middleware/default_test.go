package middleware_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

func TestDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		b, topic := newTopic(t, bus.Config{})
		begin := time.Now()
		sub := subscribe(t, topic, fails, bus.Use(middleware.Default(zap.New(core))...))
		publish(t, topic, job{})
		shutdown(t, b, sub)
		// 100, 200, 400 and 800 ms, each give or take a half.
		if took := time.Since(begin); took < 750*time.Millisecond || took > 2251*time.Millisecond {
			t.Errorf("five attempts took %v", took)
		}
		if letters := sub.DeadLetters(); len(letters) != 1 || letters[0].Attempts != 5 {
			t.Errorf("dead letters: %+v", letters)
		}
		synctest.Wait()
		wantLines(t, logs, "warn handler failed", "error handler failed", "warn handler failed again ×3")
	})
}

// No logger is no log, and no failure.
func TestDefaultSilent(t *testing.T) {
	b, topic := newTopic(t, bus.Config{})
	var r record
	sub := subscribe(t, topic, r.handle, bus.Use(middleware.Default(nil)...))
	publish(t, topic, job{}, bus.ID("a"))
	shutdown(t, b, sub)
	if len(r.ids) != 1 {
		t.Errorf("handled %v", r.ids)
	}
}

func BenchmarkDefault(b *testing.B) {
	benchmarkChain(b, delivery(), append(middleware.Default(zap.NewNop()), middleware.Codec(nil))...)
}

// While handlers succeed, nothing is allocated.
func TestSuccessAllocatesNothing(t *testing.T) {
	for name, m := range map[string][]bus.Middleware{
		"Retry":   {middleware.Retry(middleware.RetryConfig{})},
		"Codec":   {middleware.Codec(nil)},
		"Logging": {middleware.Logging(zap.NewNop(), middleware.LoggingConfig{})},
		"Timeout": {middleware.Timeout(0)},
		"Default": middleware.Default(zap.NewNop()),
	} {
		t.Run(name, func(t *testing.T) {
			b, topic := newTopic(t, bus.Config{})
			allocs := -1.0
			measure := func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) (err error) {
					allocs = testing.AllocsPerRun(1000, func() { err = next(ctx, d) })
					return err
				}
			}
			sub := must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "worker", func(context.Context, job) error { return nil },
				bus.Use(measure), bus.Use(m...)))
			publish(t, topic, job{})
			shutdown(t, b, sub)
			if allocs != 0 {
				t.Errorf("%v allocations an event", allocs)
			}
		})
	}
}
