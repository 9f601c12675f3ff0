package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// flight is the event of the examples.
type flight struct {
	Origin string
	Delay  int // minutes
}

func ExampleTopic_Subscribe() {
	ctx := context.Background()
	b, err := bus.New(bus.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	departures, err := bus.NewTopic(b, bus.TopicConfig[flight]{
		Name: "flights.departed",
		Key:  func(f flight) string { return f.Origin },
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = departures.Subscribe(ctx, "late-board", func(_ context.Context, f flight) error {
		if f.Delay >= 15 {
			fmt.Println(f.Origin, "is late by", f.Delay, "minutes")
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range []flight{{"JFK", 3}, {"SFO", 42}, {"JFK", 17}} {
		if err := departures.Publish(ctx, f); err != nil {
			log.Fatal(err)
		}
	}
	if err := b.Shutdown(ctx); err != nil { // handles what was published
		log.Fatal(err)
	}
	// Output:
	// SFO is late by 42 minutes
	// JFK is late by 17 minutes
}

func ExampleTopic_SubscribeMessage() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	departures, _ := bus.NewTopic(b, bus.TopicConfig[flight]{
		Name: "flights.departed",
		Key:  func(f flight) string { return f.Origin },
	})
	departures.SubscribeMessage(ctx, "log", func(_ context.Context, m bus.Message[flight]) error {
		fmt.Println(m.Topic, m.ID, m.Key, m.Attempt, m.Headers.Get("gate"), m.Value.Delay)
		return nil
	})
	departures.Publish(ctx, flight{"JFK", 3}, bus.ID("JFK-1207"), bus.Header("gate", "B22"))
	b.Shutdown(ctx)
	// Output:
	// flights.departed JFK-1207 JFK 1 B22 3
}

// A key that failed waits with all its later events; others go on.
func ExampleRetryAfter() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	departures, _ := bus.NewTopic(b, bus.TopicConfig[flight]{
		Name: "flights.departed",
		Key:  func(f flight) string { return f.Origin },
	})
	departures.SubscribeMessage(ctx, "board", func(_ context.Context, m bus.Message[flight]) error {
		if m.Value.Delay == 1 && m.Attempt == 1 {
			return bus.RetryAfter(50*time.Millisecond, errors.New("the board does not answer"))
		}
		fmt.Printf("%s %d, attempt %d\n", m.Key, m.Value.Delay, m.Attempt)
		return nil
	})
	departures.PublishBatch(ctx, []flight{{"JFK", 1}, {"JFK", 2}, {"SFO", 3}})
	b.Shutdown(ctx)
	// Output:
	// SFO 3, attempt 1
	// JFK 1, attempt 2
	// JFK 2, attempt 1
}

// The order of middleware: that of the bus is outside that of the
// subscription, and of each list the first is outermost.
func ExampleUse() {
	say := func(name string) bus.Middleware {
		return func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				fmt.Println("before:", name)
				err := next(ctx, d)
				fmt.Println("after:", name)
				return err
			}
		}
	}
	ctx := context.Background()
	b, _ := bus.New(bus.Config{Use: []bus.Middleware{say("bus 1"), say("bus 2")}})
	defer b.Close()
	topic, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "greetings"})
	topic.Subscribe(ctx, "printer", func(_ context.Context, s string) error {
		fmt.Println(s)
		return nil
	}, bus.Use(say("subscription 1"), say("subscription 2")), bus.Use(say("subscription 3")))
	topic.Publish(ctx, "hello")
	b.Shutdown(ctx)
	// Output:
	// before: bus 1
	// before: bus 2
	// before: subscription 1
	// before: subscription 2
	// before: subscription 3
	// hello
	// after: subscription 3
	// after: subscription 2
	// after: subscription 1
	// after: bus 2
	// after: bus 1
}

// What was given up is kept, with the reason, and can be offered again.
func ExampleSubscription_Replay() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	topic, _ := bus.NewTopic(b, bus.TopicConfig[string]{Name: "orders"})
	broken := true
	given := make(chan bool)
	sub, _ := topic.Subscribe(ctx, "billing", func(_ context.Context, order string) error {
		if broken {
			return errors.New("no tax rate")
		}
		fmt.Println("billed", order)
		return nil
	}, bus.OnDeadLetter(func(_ context.Context, l bus.Letter) {
		order, _ := bus.Value[string](l.Delivery)
		fmt.Println("gave up", *order+":", l.Err)
		given <- true
	}))
	topic.Publish(ctx, "order 1")
	<-given

	broken = false
	n, err := sub.Replay(ctx, nil)
	fmt.Println(n, err)
	b.Shutdown(ctx)
	// Unordered output:
	// gave up order 1: no tax rate
	// 1 <nil>
	// billed order 1
}

// The ledger accounts for every event that a subscription accepted.
func ExampleStats() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	topic, _ := bus.NewTopic(b, bus.TopicConfig[int]{Name: "numbers"})
	sub, _ := topic.Subscribe(ctx, "odd", func(_ context.Context, n int) error {
		switch {
		case n%2 == 0:
			return bus.Discard(errors.New("even"))
		case n == 7:
			return errors.New("unlucky")
		}
		return nil
	})
	topic.PublishBatch(ctx, []int{1, 2, 3, 4, 5, 6, 7})
	b.Shutdown(ctx)
	fmt.Println(sub.Stats())
	// Output:
	// accepted 7 = handled 3 + discarded 3 + dead-lettered 1 + dropped 0 + abandoned 0 + pending 0 (queued 0, running 0, deferred 0)
}

// With a mailbox that fails, the publisher is told instead of being held up.
func ExampleMailbox() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	topic, _ := bus.NewTopic(b, bus.TopicConfig[int]{Name: "jobs"})
	sub, _ := topic.Subscribe(ctx, "worker", func(context.Context, int) error { return nil }, bus.Mailbox(2, bus.Fail))
	sub.Pause()
	for n := range 3 {
		if err := topic.Publish(ctx, n); errors.Is(err, bus.ErrMailboxFull) {
			fmt.Println(n, "was refused")
		}
	}
	b.Shutdown(ctx)
	fmt.Println(sub.Stats().Handled, "were handled")
	// Output:
	// 2 was refused
	// 2 were handled
}
