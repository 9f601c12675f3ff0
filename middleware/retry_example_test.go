package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

func ExampleRetry() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	payments, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "payments"})

	errClosed := errors.New("account is closed")
	sub, _ := payments.SubscribeMessage(ctx, "bank", func(_ context.Context, m bus.Message[string]) error {
		switch {
		case m.Value == "transfer":
			return errClosed
		case m.Attempt < 3:
			return errors.New("bank is offline")
		}
		fmt.Printf("%s went through at attempt %d\n", m.Value, m.Attempt)
		return nil
	}, bus.Use(middleware.Retry(middleware.RetryConfig{
		InitialDelay: time.Millisecond,
		If:           func(err error) bool { return !errors.Is(err, errClosed) },
	})))

	_ = payments.Publish(ctx, "refund")
	_ = payments.Publish(ctx, "transfer")
	_ = b.Shutdown(ctx)
	for _, letter := range sub.DeadLetters() {
		fmt.Println("dead letter:", letter.Err)
	}
	// Output:
	// refund went through at attempt 3
	// dead letter: gave up after 1 attempt: account is closed
}
