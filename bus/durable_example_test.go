package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// A handler publishes an event exactly if its own message is acknowledged: the first attempt fails, and
// leaves nothing behind.
func ExampleWithin() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.New(bus.Config{Log: memory.NewLog()}) // that of transport/file outlives the process
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders", Class: bus.Durable})
	if err != nil {
		fmt.Println(err)
		return
	}
	parcels, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "parcels", Class: bus.Durable})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = orders.SubscribeMessage(ctx, "shipping", func(ctx context.Context, m bus.Message[string]) error {
		if err := parcels.Publish(ctx, fmt.Sprintf("%s, attempt %d", m.Value, m.Attempt), bus.Within(m)); err != nil {
			return err
		}
		if m.Attempt == 1 {
			return bus.RetryAfter(time.Millisecond, errors.New("no van"))
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	shipped := make(chan string)
	_, err = parcels.Subscribe(ctx, "vans", func(_ context.Context, p string) error {
		shipped <- p
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := orders.Publish(ctx, "a book"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-shipped)
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: a book, attempt 2
}

// Dead letters stay in the log, with why they were given up. Replay offers them again.
func ExampleTopic_DeadLetters() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.New(bus.Config{Log: memory.NewLog()})
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders", Class: bus.Durable})
	if err != nil {
		fmt.Println(err)
		return
	}
	given := make(chan struct{}, 2)
	billing, err := orders.Subscribe(ctx, "billing",
		func(context.Context, string) error { return errors.New("the card was refused") },
		bus.OnDeadLetter(func(context.Context, bus.Letter) { given <- struct{}{} }))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, order := range []string{"a book", "a lamp"} {
		if err := orders.Publish(ctx, order); err != nil {
			fmt.Println(err)
		}
	}
	<-given
	<-given
	if err := billing.Drain(ctx); err != nil {
		fmt.Println(err)
	}
	for letter, err := range orders.DeadLetters(ctx, "billing") {
		if err != nil {
			fmt.Println(err)
			return
		}
		order, err := bus.MessageOf[string](letter.Delivery)
		fmt.Println(letter.Offset, order.Value, letter.Error, err)
	}
	n, err := orders.Replay(ctx, "billing", func(l bus.StoredLetter) bool { return l.Offset == 2 })
	fmt.Println(n, err)

	// Whoever subscribes next gets it.
	paid := make(chan string)
	_, err = orders.Subscribe(ctx, "billing", func(_ context.Context, order string) error {
		paid <- order
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-paid)
	if err := b.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 a book the card was refused <nil>
	// 2 a lamp the card was refused <nil>
	// 1 <nil>
	// a lamp
}
