package bus_test

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/bus"
)

// A handler is changed while events come. The old one finishes what it has, the new one takes what comes after, and no event
// is without a handler.
func ExampleTopic_Replace() {
	ctx := context.Background()
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := func(version string) func(context.Context, string) error {
		return func(_ context.Context, order string) error {
			fmt.Println(version, "handles", order)
			return nil
		}
	}
	old, err := orders.Subscribe(ctx, "ship", handler("v1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = orders.Publish(ctx, "o-1")
	if _, err := orders.Replace(ctx, "ship", handler("v2"), bus.Mailbox(100, bus.Block)); err != nil {
		fmt.Println(err)
		return
	}
	_ = orders.Publish(ctx, "o-2")
	<-old.Done() // what it had is handled
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(orders.Stats().Unrouted, "unrouted")
	// Output:
	// v1 handles o-1
	// v2 handles o-2
	// 0 unrouted
}
