package middleware_test

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport/memory"
)

// What stands before Codec sees the bytes that came off the transport, what stands after it sees
// the value.
func ExampleCodec() {
	type temperature struct{ Celsius float64 }

	size := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			payload, _ := d.Payload()
			fmt.Printf("%d bytes of %s\n", len(payload), d.ContentType())
			return next(ctx, d)
		}
	}
	plausible := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if t, ok := bus.Value[temperature](d); ok && t.Celsius < -273.15 {
				return bus.Discard(fmt.Errorf("%v °C", t.Celsius))
			}
			return next(ctx, d)
		}
	}

	ctx := context.Background()
	b, _ := bus.New(bus.Config{Transport: memory.NewBroker().Connect()})
	temperatures, _ := bus.NewTopic(b, bus.TopicConfig[temperature]{Name: "temperatures"})
	_, _ = temperatures.Subscribe(ctx, "display", func(_ context.Context, t temperature) error {
		fmt.Println(t.Celsius, "°C")
		return nil
	}, bus.Use(size, middleware.Codec(nil), plausible))

	_ = temperatures.Publish(ctx, temperature{21.5})
	_ = temperatures.Publish(ctx, temperature{-400})
	_ = b.Shutdown(ctx)
	// Output:
	// 16 bytes of application/json
	// 21.5 °C
	// 16 bytes of application/json
}
