package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// One call for many events. An error that names single ones acknowledges the others.
func ExampleTopic_SubscribeBatch() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	departures, _ := bus.NewTopic(b, bus.TopicConfig[flight]{Name: "flights.departed"})
	sub, _ := departures.SubscribeBatch(ctx, "archive", func(_ context.Context, batch []bus.Message[flight]) error {
		failed := &bus.BatchError{}
		for i, m := range batch {
			if m.Value.Origin == "" {
				failed.Failed = append(failed.Failed, bus.IndexedError{Index: i, Err: errors.New("no origin")})
			}
		}
		fmt.Println("insert", len(batch)-len(failed.Failed), "of", len(batch), "flights")
		if len(failed.Failed) > 0 {
			return failed
		}
		return nil
	}, bus.BatchSize(3), bus.BatchLinger(time.Minute))
	departures.PublishBatch(ctx, []flight{{"JFK", 3}, {"", 0}, {"SFO", 42}, {"JFK", 17}})
	b.Shutdown(ctx) // does not linger
	st := sub.Stats()
	fmt.Println(st.Handled, "handled,", st.DeadLettered, "dead-lettered")
	// Output:
	// insert 2 of 3 flights
	// insert 1 of 1 flights
	// 3 handled, 1 dead-lettered
}

// Of each key only the latest event waits, in the place of the older one.
func ExampleKeepLatest() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	departures, _ := bus.NewTopic(b, bus.TopicConfig[flight]{
		Name: "flights.delayed",
		Key:  func(f flight) string { return f.Origin },
	})
	sub, _ := departures.Subscribe(ctx, "board", func(_ context.Context, f flight) error {
		fmt.Println(f.Origin, f.Delay)
		return nil
	}, bus.Mailbox(100, bus.KeepLatest))
	sub.Pause()
	departures.PublishBatch(ctx, []flight{{"JFK", 5}, {"SFO", 10}, {"JFK", 15}, {"JFK", 20}})
	b.Shutdown(ctx)
	fmt.Println(sub.Stats().Dropped, "dropped")
	// Output:
	// JFK 20
	// SFO 10
	// 2 dropped
}

// The members of a group share the events; others get them all.
func ExampleGroup() {
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	defer b.Close()
	departures, _ := bus.NewTopic(b, bus.TopicConfig[flight]{Name: "flights.departed"})
	ignore := func(context.Context, flight) error { return nil }
	first, _ := departures.Subscribe(ctx, "worker-1", ignore, bus.Group("workers"))
	second, _ := departures.Subscribe(ctx, "worker-2", ignore, bus.Group("workers"))
	audit, _ := departures.Subscribe(ctx, "audit", ignore)
	for n := range 10 {
		departures.Publish(ctx, flight{"JFK", n})
	}
	b.Shutdown(ctx)
	fmt.Println(first.Stats().Handled+second.Stats().Handled, "shared,", audit.Stats().Handled, "audited")
	// Output:
	// 10 shared, 10 audited
}
