package bus_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/shardbus/shardbus/bus"
)

// A service declares its topics and handlers on a bus that is held, and then runs until it is told to end. Run starts all
// of them together, and handles what was accepted before it returns.
func ExampleBus_Run() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	b, err := bus.New(bus.Config{Hold: true}) // in another setting: Open: func(ctx) { return redis.Open(ctx, …) }
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := orders.Subscribe(ctx, "print", func(_ context.Context, order string) error {
		fmt.Println("handled", order)
		return nil
	}, bus.Fatal()); err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		if err := b.Ready(ctx); err != nil { // readiness probes ask Health().Ready()
			fmt.Println(err)
		}
		if err := orders.Publish(ctx, "o-1"); err != nil {
			fmt.Println(err)
		}
		stop() // as SIGTERM does
	}()
	fmt.Println("ended:", b.Run(ctx))
	// Output:
	// handled o-1
	// ended: <nil>
}
