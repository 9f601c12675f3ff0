package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// Prices is a topic of questions: what does an order cost?
var Prices = bus.TopicConfig[bus.Request[string, int]]{Name: "prices"}

// StartPrices is the code under test: it answers.
func StartPrices(ctx context.Context, b *bus.Bus, prices map[string]int) error {
	topic, err := bus.NewTopic(b, Prices)
	if err != nil {
		return err
	}
	_, err = topic.Subscribe(ctx, "prices", bus.Answer(func(_ context.Context, id string) (int, error) {
		cents, ok := prices[id]
		if !ok {
			return 0, bus.Discard(fmt.Errorf("no order %s", id))
		}
		return cents, nil
	}))
	return err
}

// Ask works in process only, and so does its test. Questions are recorded as events are.
func ExampleInProcess() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t, bustest.InProcess())
	_ = StartPrices(t.Context(), b.Bus, map[string]int{"o-1": 1990})

	prices, _ := bus.NewTopic(b.Bus, Prices)
	fmt.Println(bus.Ask(t.Context(), prices, "o-1"))
	_, err := bus.Ask(t.Context(), prices, "o-2")
	fmt.Println(err)
	bustest.WaitIdle(t, b)
	fmt.Println(len(bustest.Published(t, b, Prices)), "asked,", len(bustest.Handled(t, b, Prices, "prices")), "answered")
	// Output:
	// 1990 <nil>
	// bus: ask prices: no order o-2
	// 2 asked, 1 answered
}

// Each event goes to one member of a group, and the events of one key go to the same.
func ExampleInProcess_group() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()
	b := bustest.New(t, bustest.InProcess())
	orders, _ := bus.NewTopic(b.Bus, Orders)
	for _, name := range []string{"billing-1", "billing-2"} {
		_, _ = orders.Subscribe(t.Context(), name, func(context.Context, Order) error { return nil }, bus.Group("billing"))
	}
	for _, id := range []string{"o-1", "o-2", "o-3", "o-1"} {
		_ = orders.Publish(t.Context(), Order{ID: id})
	}
	bustest.WaitIdle(t, b)

	first, second := bustest.Handled(t, b, Orders, "billing-1"), bustest.Handled(t, b, Orders, "billing-2")
	fmt.Println(len(first)+len(second), "handled, each by one member")
	key := bustest.Key[Order]("o-1")
	fmt.Println("both of o-1 by the same:", len(bustest.Handled(t, b, Orders, "billing-1", key)) != 1)
	// Output:
	// 4 handled, each by one member
	// both of o-1 by the same: true
}

// CallBatch shows what became of each event of a batch, and which batches there were.
func ExampleCallBatch() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()

	insert := func(_ context.Context, batch []bus.Message[Order]) error { // under test
		var failed []bus.IndexedError
		for i, m := range batch {
			if m.Value.Cents == 0 {
				failed = append(failed, bus.IndexedError{Index: i, Err: bus.Discard(errors.New("nothing to pay"))})
			}
		}
		if failed != nil {
			return &bus.BatchError{Failed: failed}
		}
		return nil
	}
	o := bustest.CallBatch(t, insert, []Order{{"o-1", 1}, {"o-2", 0}, {"o-3", 3}},
		bustest.InProcess(), bustest.OnTopic(Orders), bustest.SubscribedBatch(bus.BatchSize(2)))
	fmt.Println(o)
	// Output:
	// batch [0 1]: bus: batch: 1 events failed, the first at index 1: discard: nothing to pay
	// batch [2]: <nil>
	// event 0: handled
	//     attempt 1: <nil>
	// event 1: discard: nothing to pay
	//     attempt 1: discard: nothing to pay
	// event 2: handled
	//     attempt 1: <nil>
}

// CallActor shows what an actor keeps from one event of its key to the next.
func ExampleCallActor() {
	t := &exampleT{} // in a test, the *testing.T
	defer t.Finish()

	saved := make(map[string]int)
	account := func(_ context.Context, key string) (bus.Actor[Order], error) { // under test
		sum := 0
		return bus.Actor[Order]{
			Handle: func(_ context.Context, o Order) error {
				if sum += o.Cents; sum > 100 {
					return bus.DeadLetter(errors.New("beyond the limit"))
				}
				return nil
			},
			Stop: func(context.Context) error { saved[key] = sum; return nil },
		}, nil
	}
	o := bustest.CallActor(t, account, []Order{{"o-1", 60}, {"o-2", 70}, {"o-1", 50}},
		bustest.InProcess(), bustest.OnTopic(Orders))
	fmt.Println(o)
	fmt.Println(saved)
	// Output:
	// actor "o-1": events [0 2], stopped
	// actor "o-2": events [1], stopped
	// event 0: handled
	//     attempt 1: <nil>
	// event 1: handled
	//     attempt 1: <nil>
	// event 2: dead letter: beyond the limit
	//     attempt 1: dead letter: beyond the limit
	// map[o-1:110 o-2:70]
}

// A handler that changes an event changes it for all of its subscribers. That fails the test.
func ExampleInProcess_sharedEvents() {
	t := &exampleT{} // in a test, the *testing.T
	b := bustest.New(t, bustest.InProcess())
	type Cart struct{ Items []string }
	carts, _ := bus.NewTopic(b.Bus, bus.TopicConfig[Cart]{Name: "carts"})
	_, _ = carts.Subscribe(t.Context(), "ship", func(_ context.Context, c Cart) error {
		slices.Sort(slices.Clone(c.Items)) // a copy
		return nil
	})

	cart := Cart{Items: []string{"pen", "ink"}}
	_ = carts.Publish(t.Context(), cart, bus.ID("1"))
	bustest.WaitIdle(t, b)
	slices.Sort(cart.Items) // what was published
	t.Finish()
	// Output:
	// bustest: carts: the value of event 1 was changed after it was published, while no handler had it, by its publisher, or a goroutine that outlived the handler of ship: events are shared, and must not be changed. Change a copy (AllowMisuse accepts it)
}
