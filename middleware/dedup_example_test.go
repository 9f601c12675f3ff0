package middleware_test

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// An outbox that was interrupted publishes a row again, under the same ID.
func ExampleDedup() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	orders, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})

	sub, _ := orders.Subscribe(ctx, "shipping", func(_ context.Context, order string) error {
		fmt.Println("ship", order)
		return nil
	}, bus.Use(middleware.Dedup(middleware.DedupConfig{Size: 1000})))

	_ = orders.Publish(ctx, "a chair", bus.ID("row-1"))
	_ = orders.Publish(ctx, "a table", bus.ID("row-2"))
	_ = orders.Publish(ctx, "a table", bus.ID("row-2"))
	_ = b.Shutdown(ctx)
	fmt.Println("discarded:", sub.Stats().Discarded)
	// Output:
	// ship a chair
	// ship a table
	// discarded: 1
}
