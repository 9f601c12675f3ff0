package bus_test

import (
	"context"
	"fmt"
	"strconv"

	"github.com/shardbus/shardbus/bus"
)

// Events are ordered by an integer without making a string of it.
func ExampleTopicConfig_appendKey() {
	type Payment struct {
		Account int64
		Cents   int
	}
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	payments, err := bus.NewTopic(b, bus.TopicConfig[Payment]{
		Name:      "payments",
		AppendKey: func(dst []byte, p Payment) []byte { return strconv.AppendInt(dst, p.Account, 10) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if _, err := payments.Spawn(ctx, "balance", func(_ context.Context, account string) (bus.Actor[Payment], error) {
		balance := 0
		return bus.Actor[Payment]{
			Handle: func(_ context.Context, p Payment) error {
				balance += p.Cents
				return nil
			},
			Stop: func(context.Context) error {
				fmt.Println("account", account, "has", balance)
				return nil
			},
		}, nil
	}); err != nil {
		fmt.Println(err)
		return
	}
	if err := payments.PublishBatch(ctx, []Payment{{17, 100}, {17, 250}}); err != nil {
		fmt.Println(err)
	}
	for topic := range b.Topics() {
		fmt.Println(topic.Name, "has", topic.Subscriptions, "subscription")
	}
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// payments has 1 subscription
	// account 17 has 350
}
