package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

func ExampleTimeout() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	reports, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "reports"})

	sub, _ := reports.Subscribe(ctx, "printer", func(ctx context.Context, report string) error {
		<-ctx.Done() // a handler that takes for ever, and knows how to stop
		return ctx.Err()
	}, bus.Use(middleware.Timeout(10*time.Millisecond)))

	_ = reports.Publish(ctx, "annual")
	_ = b.Shutdown(ctx)
	for _, letter := range sub.DeadLetters() {
		fmt.Println(letter.Err)
		fmt.Println(errors.Is(letter.Err, middleware.ErrTimeout), errors.Is(letter.Err, context.DeadlineExceeded))
	}
	// Output:
	// reports/printer: handler timed out after 10ms: context deadline exceeded
	// true true
}
