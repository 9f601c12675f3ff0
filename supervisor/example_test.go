package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/supervisor"
)

// worker returns a child that says when it is started and stopped. What is sent to fail makes it
// fail.
func worker(name string, fail <-chan error) supervisor.Child {
	return supervisor.Child{
		Name:       name,
		AwaitReady: true,
		Serve: func(ctx context.Context) error {
			supervisor.Ready(ctx)
			select {
			case err := <-fail:
				return err
			case <-ctx.Done():
				return nil
			}
		},
	}
}

// demonstrate runs three workers under a strategy, makes the second one fail once, and prints what
// happens until all three run again.
func demonstrate(strategy supervisor.Strategy) {
	fail := make(chan error)
	ready := make(chan string, 16)
	tree, err := supervisor.New(
		supervisor.Spec{
			Name:     "demo",
			Strategy: strategy,
			Backoff:  supervisor.Backoff{Min: time.Millisecond},
			OnEvent: func(e supervisor.Event) {
				switch e.Kind {
				case supervisor.EventReady:
					fmt.Printf("%s is running (incarnation %d)\n", e.Child, e.Incarnation)
					ready <- e.Child
				case supervisor.EventExited:
					fmt.Printf("%s failed: %v\n", e.Child, e.Err)
				case supervisor.EventStopped:
					fmt.Printf("%s stopped\n", e.Path)
				}
			},
		},
		worker("a", nil), worker("b", fail), worker("c", nil),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- tree.Serve(ctx) }()
	await := func(last string) {
		for name := range ready {
			if name == last {
				return
			}
		}
	}
	await("c")
	fail <- errors.New("out of paper")
	if strategy == supervisor.OneForOne {
		await("b")
	} else {
		await("c")
	}
	cancel()
	fmt.Println("the end:", <-result)
}

// Under OneForOne a failure is nobody else's business.
func Example_oneForOne() {
	demonstrate(supervisor.OneForOne)
	// Output:
	// a is running (incarnation 1)
	// b is running (incarnation 1)
	// c is running (incarnation 1)
	// b failed: out of paper
	// b is running (incarnation 2)
	// demo/c stopped
	// demo/b stopped
	// demo/a stopped
	// demo stopped
	// the end: <nil>
}

// Under OneForAll all children are stopped and started again.
func Example_oneForAll() {
	demonstrate(supervisor.OneForAll)
	// Output:
	// a is running (incarnation 1)
	// b is running (incarnation 1)
	// c is running (incarnation 1)
	// b failed: out of paper
	// demo/c stopped
	// demo/a stopped
	// a is running (incarnation 2)
	// b is running (incarnation 2)
	// c is running (incarnation 2)
	// demo/c stopped
	// demo/b stopped
	// demo/a stopped
	// demo stopped
	// the end: <nil>
}

// Under RestForOne the children that were started after the failed one, because they need it, are
// stopped and started again with it.
func Example_restForOne() {
	demonstrate(supervisor.RestForOne)
	// Output:
	// a is running (incarnation 1)
	// b is running (incarnation 1)
	// c is running (incarnation 1)
	// b failed: out of paper
	// demo/c stopped
	// b is running (incarnation 2)
	// c is running (incarnation 2)
	// demo/c stopped
	// demo/b stopped
	// demo/a stopped
	// demo stopped
	// the end: <nil>
}

// A supervisor that had to restart too often gives up, and says for whom and why.
func ExampleTooManyRestarts() {
	tree, err := supervisor.New(
		supervisor.Spec{Name: "app", MaxRestarts: 2, Backoff: supervisor.Backoff{Min: time.Millisecond}},
		supervisor.Child{Name: "broken", Serve: func(context.Context) error { return errors.New("no licence") }},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = tree.Serve(context.Background())
	var tooMany *supervisor.TooManyRestarts
	if errors.As(err, &tooMany) {
		fmt.Println(tooMany.Child, "failed for the last time:", tooMany.Err)
	}
	fmt.Println(err)
	// Output:
	// broken failed for the last time: no licence
	// supervisor "app": more than 2 restarts within 1m0s; the last was for "broken": no licence
}

// A supervisor ends with its work: here the one significant child.
func ExampleAutoShutdown() {
	tree, err := supervisor.New(
		supervisor.Spec{Name: "import", AutoShutdown: supervisor.AnySignificant},
		worker("progress bar", nil),
		supervisor.Child{
			Name: "reader", Restart: supervisor.Transient, Significant: true,
			Serve: func(context.Context) error { fmt.Println("all read"); return nil },
		},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tree.Serve(context.Background()))
	// Output:
	// all read
	// <nil>
}

// Supervisors nest: the one below is a child of the one above.
func ExampleSupervisor_Child() {
	shards, err := supervisor.New(supervisor.Spec{Name: "shards", MaxRestarts: supervisor.Unlimited},
		worker("shard 1", nil), worker("shard 2", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	app, err := supervisor.New(supervisor.Spec{Name: "app"}, worker("listener", nil), shards.Child(supervisor.Permanent))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(app.Tree())
	// Output:
	// app  idle
	// ├── listener  idle
	// └── shards  idle
	//     ├── shard 1  idle
	//     └── shard 2  idle
}

// A Passive counts the failures of workers that own no goroutine.
func ExamplePassive() {
	lanes, err := supervisor.NewPassive(supervisor.Spec{
		Name: "lanes", MaxRestarts: 2, Within: 10 * time.Second,
		Backoff: supervisor.Backoff{Min: 100 * time.Millisecond, Jitter: -1},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for range 3 {
		d := lanes.Failed(now, "lane 3", errors.New("bad handler"))
		fmt.Println(d.Restart, d.After, d.Err)
		now = now.Add(time.Second)
	}
	// Output:
	// true 100ms <nil>
	// true 200ms <nil>
	// false 0s supervisor "lanes": more than 2 restarts within 10s; the last was for "lane 3": bad handler
}
