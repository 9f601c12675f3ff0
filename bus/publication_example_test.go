package bus_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/shardbus/shardbus/bus"
)

// userKey is where the example keeps the user in a context.
type userKey struct{}

// A publish middleware puts what the context knows into a header of each event, and refuses what nobody may publish.
func ExamplePublishMiddleware() {
	asUser := func(next bus.PublishHandler) bus.PublishHandler {
		return func(ctx context.Context, p *bus.Publication) error {
			user, ok := ctx.Value(userKey{}).(string)
			if !ok {
				return errors.New("no user")
			}
			for i := range p.Len() {
				p.SetHeader(i, "user", user)
			}
			return next(ctx, p)
		}
	}
	b, err := bus.New(bus.Config{UsePublish: []bus.PublishMiddleware{asUser}})
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if _, err := orders.SubscribeMessage(ctx, "print", func(_ context.Context, m bus.Message[string]) error {
		fmt.Println(m.Value, "of", m.Headers.Get("user"))
		return nil
	}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(orders.Publish(ctx, "o-1"))
	if err := orders.Publish(context.WithValue(ctx, userKey{}, "ada"), "o-2"); err != nil {
		fmt.Println(err)
	}
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// bus: publish orders: no user
	// o-2 of ada
}

// Rows of an outbox table are published with IDs of their own, by which subscribers know a repetition.
func ExampleTopic_PublishMessages() {
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if _, err := orders.SubscribeMessage(ctx, "print", func(_ context.Context, m bus.Message[string]) error {
		fmt.Println(m.ID, m.Value)
		return nil
	}); err != nil {
		fmt.Println(err)
		return
	}
	if err := orders.PublishMessages(ctx, []bus.Outgoing[string]{
		{ID: "row-17", Value: "paid"},
		{ID: "row-18", Value: "shipped"},
	}); err != nil {
		fmt.Println(err)
	}
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// row-17 paid
	// row-18 shipped
}

// NextAfter waits for the event that a command brings about.
func ExampleTopic_NextAfter() {
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	paid, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "paid"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	m, err := paid.NextAfter(ctx, func(m bus.Message[string]) bool { return m.Value == "o-7" }, func(ctx context.Context) error {
		return paid.PublishBatch(ctx, []string{"o-6", "o-7"}) // another service does that
	})
	fmt.Println(m.Value, err)
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: o-7 <nil>
}
