package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// What was accepted is handled, by what was replaced, too; then the name is free for another type, and the
// old topic refuses everything.
func TestTopicClose(t *testing.T) {
	for _, remote := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := bus.Config{}
			if remote {
				cfg.Transport = memory.NewBroker().Connect()
			}
			b := newBus(t, cfg)
			r := &replaced{topic: newTopic(t, b, bus.TopicConfig[event]{Name: "n"})}
			var inside list[error]
			slow := r.handler("old", time.Second)
			subscribe(t, r.topic, "s", func(ctx context.Context, e event) error {
				err := slow(ctx, e)
				inside.add(r.topic.Publish(ctx, e))
				return err
			})
			publish(t, r.topic, event{"", 1})
			synctest.Wait()
			replace(t, r.topic, "s", r.handler("new", 0))
			publish(t, r.topic, event{"", 2})
			if err := r.topic.Close(t.Context()); err != nil {
				t.Error(err)
			}
			r.order.require(t, "handled", "old 1", "new 2")
			if got := inside.get(); len(got) != 1 || !errors.Is(got[0], bus.ErrTopicClosed) {
				t.Error(got)
			}
			for topic := range b.Topics() {
				t.Errorf("%+v is kept", topic)
			}
			if n := len(slices.Collect(b.Subscriptions())); n > 0 {
				t.Errorf("%d subscriptions are kept", n)
			}
			err := r.topic.Publish(t.Context(), event{})
			requireError(t, err, bus.ErrTopicClosed, "publish", "n")
			if !errors.Is(err, bus.ErrClosed) {
				t.Error(err)
			}
			if err := r.topic.PublishBatch(t.Context(), []event{{}, {}}); !errors.Is(err, bus.ErrTopicClosed) {
				t.Error(err)
			}
			_, err = r.topic.Subscribe(t.Context(), "s", ignore[event])
			requireError(t, err, bus.ErrTopicClosed, "subscribe", "n")
			if err := r.topic.Close(t.Context()); err != nil {
				t.Errorf("again: %v", err)
			}
			again := newTopic(t, b, bus.TopicConfig[string]{Name: "n"})
			var got list[string]
			subscribe(t, again, "s", func(_ context.Context, s string) error { got.add(s); return nil })
			publish(t, again, "x")
			if err := r.topic.Close(t.Context()); err != nil { // of the old one still
				t.Error(err)
			}
			publish(t, again, "y")
			shutdown(t, b)
			got.require(t, "of another type", "x", "y")
		})
	}
}

// A Close that runs out of time abandons what waits, says so, and gives the topic up; one that would
// wait for itself is refused.
func TestTopicCloseErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
		requireError(t, topic.Close(noContext), bus.ErrNilContext, "close topic", "n")
		var inside list[error]
		s := subscribe(t, topic, "s", func(ctx context.Context, _ event) error {
			inside.add(topic.Close(ctx))
			time.Sleep(time.Minute)
			return nil
		}, bus.Mailbox(2, bus.Block))
		publish(t, topic, event{"", 1})
		synctest.Wait()
		publish(t, topic, event{"", 2}, event{"", 3})
		waiting := make(chan error, 1)
		go func() { waiting <- topic.Publish(context.Background(), event{"", 4}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		requireError(t, topic.Close(ctx), context.DeadlineExceeded, "close topic n", "2 events abandoned", "1 still running")
		if err := <-waiting; !errors.Is(err, bus.ErrTopicClosed) {
			t.Error(err)
		}
		if got := inside.get(); len(got) != 1 || !errors.Is(got[0], bus.ErrWouldDeadlock) {
			t.Error(got)
		}
		for range b.Topics() {
			t.Error("a topic is kept")
		}
		if subs := slices.Collect(b.Subscriptions()); len(subs) != 1 || subs[0] != s {
			t.Error("the one whose handler runs is not known")
		}
		<-s.Done()
		if st := stats(t, s); st.Abandoned != 2 {
			t.Errorf("%v", st)
		}
	})
}

// Health tells nothing of the subscriptions of a topic that was given up.
func TestTopicCloseAndHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, event) error { panic("no") }, bus.PanicBudget(0, time.Second))
		publish(t, topic, event{})
		<-s.Done()
		synctest.Wait()
		if h := b.Health(); len(h.Stopped) != 1 {
			t.Errorf("%+v", h)
		}
		if err := topic.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if h := b.Health(); len(h.Stopped) != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// Topics that were made, used and closed leave nothing on the bus.
func TestTopicCloseLeavesNothing(t *testing.T) {
	b := newBus(t, bus.Config{})
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	use := func(from, n int) {
		for i := range n {
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: fmt.Sprint("topic", from+i), Key: eventKey})
			subscribe(t, topic, "plain", ignore[event])
			subscribe(t, topic, "member", ignore[event], bus.Group("g"))
			publish(t, topic, event{"k", 1})
			if i%10 == 0 {
				replace(t, topic, "plain", ignore[event], bus.Lanes(2))
				publish(t, topic, event{"k", 2})
			}
			if err := topic.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	use(0, 500)
	before, goroutines := heap(), runtime.NumGoroutine()
	use(500, 20_000)
	if after := heap(); after > before+512<<10 {
		t.Errorf("the heap had %d bytes, and has %d", before, after)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2 { // a worker of the bus may be about to end
		t.Errorf("%d goroutines, there were %d", n, goroutines)
	}
	for topic := range b.Topics() {
		t.Errorf("%+v is kept", topic)
	}
}

// A topic that is needed for a while is given up afterwards; then its name is free.
func ExampleTopic_Close() {
	ctx := context.Background()
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	job, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "job.17"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := job.Subscribe(ctx, "print", func(_ context.Context, line string) error {
		fmt.Println(line)
		return nil
	}); err != nil {
		fmt.Println(err)
		return
	}
	_ = job.Publish(ctx, "done")
	fmt.Println(job.Close(ctx))
	fmt.Println(job.Publish(ctx, "late"))
	_, err = bus.NewTopic(b, bus.TopicConfig[int]{Name: "job.17"}) // of another type now
	fmt.Println(err)
	// Output:
	// done
	// <nil>
	// bus: publish job.17: topic closed
	// <nil>
}
