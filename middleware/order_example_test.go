package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// The recommended order, and what is seen from each place of it. Outside Retry, where Logging
// belongs, one sees what becomes of the event; inside it one sees the plain error.
func Example_order() {
	see := func(place string) bus.Middleware {
		return func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				err := next(ctx, d)
				fmt.Printf("attempt %d, %s: %v\n", d.Attempt(), place, err)
				return err
			}
		}
	}

	logger, _ := textLogger()
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	scans, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "scans"})
	_, _ = scans.Subscribe(ctx, "index", func(ctx context.Context, scan string) error {
		return errors.New("no text")
	}, bus.Use(
		middleware.Logging(logger, middleware.LoggingConfig{}),
		middleware.Dedup(middleware.DedupConfig{}),
		see("outside Retry"),
		middleware.Retry(middleware.RetryConfig{MaxAttempts: 2, InitialDelay: time.Millisecond, Jitter: -1}),
		see("inside Retry"),
		middleware.Timeout(time.Minute),
		middleware.Codec(nil),
	))

	_ = scans.Publish(ctx, "page 1", bus.ID("p1"))
	_ = b.Shutdown(ctx)
	// Output:
	// attempt 1, inside Retry: no text
	// attempt 1, outside Retry: retry after 1ms: no text
	// WARN handler failed {"topic": "scans", "subscription": "index", "id": "p1", "attempt": 1, "next": "retry", "after": "…", "error": "retry after 1ms: no text"}
	// attempt 2, inside Retry: no text
	// attempt 2, outside Retry: dead letter: gave up after 2 attempts: no text
	// ERROR handler failed {"topic": "scans", "subscription": "index", "id": "p1", "attempt": 2, "next": "dead letter", "error": "dead letter: gave up after 2 attempts: no text"}
}
