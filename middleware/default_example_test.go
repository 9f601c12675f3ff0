package middleware_test

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

func ExampleDefault() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{Use: middleware.Default(zap.NewNop())}) // around every handler of the bus
	invoices, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "invoices"})

	_, _ = invoices.SubscribeMessage(ctx, "archive", func(_ context.Context, m bus.Message[string]) error {
		if m.Attempt == 1 {
			panic("disk is full")
		}
		fmt.Printf("archived %s at attempt %d\n", m.Value, m.Attempt)
		return nil
	}, bus.Use(middleware.Timeout(time.Minute))) // further in: around this one

	_ = invoices.Publish(ctx, "2026-001")
	_ = b.Shutdown(ctx)
	// Output:
	// archived 2026-001 at attempt 2
}
