package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// A goroutine that a handler starts with its context is not the handler: it may publish to,
// and ask, and end, what the handler belongs to, while the handler runs and after it. It
// waits until there is room, or until its context ends.
func TestBesideAHandlerIsNoDeadlock(t *testing.T) {
	for _, kind := range []string{"single", "lanes", "middleware", "group", "batch", "actor"} {
		for _, outlive := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, outlive %v", kind, outlive), func(t *testing.T) {
				for range 30 {
					synctest.Test(t, func(t *testing.T) { publishBeside(t, kind, outlive) })
				}
			})
		}
	}
}

func publishBeside(t *testing.T, kind string, outlive bool) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
	var errs list[error]
	const events = 20
	handle := func(ctx context.Context, e event) error {
		if e.N > 0 {
			go func() {
				errs.add(topic.Publish(ctx, event{e.Key, -e.N}))
				errs.add(topic.PublishBatch(ctx, []event{{e.Key, -e.N}, {e.Key, -e.N}}))
			}()
			if !outlive {
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	}
	one := []bus.Option{bus.Mailbox(1, bus.Block)}
	var err error
	switch kind {
	case "lanes":
		_, err = topic.Subscribe(t.Context(), "s", handle, one[0], bus.Lanes(3))
	case "middleware":
		_, err = topic.Subscribe(t.Context(), "s", handle, one[0], bus.Use(passThrough))
	case "group":
		_, err = topic.Subscribe(t.Context(), "s", handle, one[0], bus.Group("g"))
	case "batch":
		_, err = topic.SubscribeBatch(t.Context(), "s", func(ctx context.Context, batch []bus.Message[event]) error {
			for _, m := range batch {
				if err := handle(ctx, m.Value); err != nil {
					return err
				}
			}
			return nil
		}, one[0], bus.BatchSize(1))
	case "actor":
		_, err = topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[event], error) {
			return bus.Actor[event]{Handle: handle}, nil
		}, one[0])
	default:
		_, err = topic.Subscribe(t.Context(), "s", handle, one[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range events {
		publish(t, topic, event{fmt.Sprint("k", n%3), n + 1})
	}
	for len(errs.get()) < 2*events {
		time.Sleep(time.Second)
	}
	for _, err := range errs.get() {
		if err != nil {
			t.Errorf("%v", err)
		}
	}
	shutdown(t, b)
}

// A handler's context bounds the wait beside it.
func TestBesideAHandlerWaitsAsLongAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		ask := newTopic(t, b, bus.TopicConfig[bus.Request[int, int]]{Name: "q"})
		errs := make(chan error, 2)
		subscribe(t, ask, "s", func(ctx context.Context, r bus.Request[int, int]) error {
			if r.Query == 0 {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				done := make(chan struct{})
				go func() { // the handler waits for this goroutine, which waits for the handler
					defer close(done)
					_, err := bus.Ask(ctx, ask, 1)
					errs <- err
				}()
				<-done
			}
			return r.Reply(r.Query)
		})
		subscribe(t, topic, "s", func(ctx context.Context, n int) error {
			if n == 0 {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				done := make(chan struct{})
				go func() {
					defer close(done)
					errs <- errors.Join(topic.Publish(ctx, 1), topic.Publish(ctx, 2))
				}()
				<-done
			}
			return nil
		}, bus.Mailbox(1, bus.Block))
		publish(t, topic, 0)
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("publish: %v", err)
		}
		if _, err := bus.Ask(t.Context(), ask, 0); err != nil {
			t.Error(err)
		}
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ask: %v", err)
		}
	})
}

// A handler may have the bus, or its own subscription, ended by a goroutine beside it, with
// its own context, which that ends.
func TestEndBesideAHandler(t *testing.T) {
	for _, how := range []string{"shutdown", "drain", "ask", "a handler on another goroutine"} {
		for _, actors := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, actors %v", how, actors), func(t *testing.T) {
				for range 30 {
					synctest.Test(t, func(t *testing.T) { endBeside(t, how, actors) })
				}
			})
		}
	}
}

func endBeside(t *testing.T, how string, actors bool) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
	asked := newTopic(t, b, bus.TopicConfig[bus.Request[int, int]]{Name: "q"})
	result := make(chan error, 1)
	var s *bus.Subscription
	handle := func(ctx context.Context, e event) error {
		if e.N != 3 {
			return nil
		}
		go func() {
			switch how {
			case "drain":
				result <- s.Drain(ctx)
			case "ask":
				_, err := bus.Ask(ctx, asked, 1)
				result <- errors.Join(err, b.Shutdown(ctx))
			default:
				result <- b.Shutdown(ctx)
			}
		}()
		time.Sleep(time.Second)
		return nil
	}
	// A middleware that runs the handler on another goroutine: that one is not the lane's.
	elsewhere := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if how != "a handler on another goroutine" {
				return next(ctx, d)
			}
			done := make(chan error)
			go func() { done <- next(ctx, d) }()
			return <-done
		}
	}
	subscribe(t, asked, "s", func(_ context.Context, r bus.Request[int, int]) error { return r.Reply(1) })
	ready := make(chan struct{})
	var err error
	if actors {
		s, err = topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[event], error) {
			<-ready
			return bus.Actor[event]{Handle: handle, Stop: func(context.Context) error { time.Sleep(time.Second); return nil }}, nil
		}, bus.Use(elsewhere))
	} else {
		s, err = topic.Subscribe(t.Context(), "s", func(ctx context.Context, e event) error { <-ready; return handle(ctx, e) }, bus.Use(elsewhere))
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		publish(t, topic, event{"k", n})
	}
	close(ready)
	if err := <-result; err != nil {
		t.Errorf("%v", err)
	}
	<-s.Done()
	if st := stats(t, s); st.Handled != 6 {
		t.Errorf("%v", st)
	}
}

// What waits for itself is still told, with any context where that does not bound it.
func TestEndFromAHandlerOnAnyContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		other := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var s *bus.Subscription
		got := make(chan error, 9)
		handle := func(context.Context, event) error {
			got <- b.Shutdown(context.Background())
			got <- s.Drain(context.Background())
			return errors.New("given up")
		}
		ready := make(chan struct{})
		s = subscribe(t, topic, "s", func(ctx context.Context, e event) error { <-ready; return handle(ctx, e) },
			bus.OnDeadLetter(func(context.Context, bus.Letter) { got <- b.Shutdown(context.Background()) }))
		close(ready)
		publish(t, topic, event{"k", 1})
		for range 3 {
			if err := <-got; !errors.Is(err, bus.ErrWouldDeadlock) {
				t.Errorf("%v", err)
			}
		}
		subscribe(t, topic, "another", func(ctx context.Context, _ event) error { got <- other.Shutdown(ctx); return nil })
		publish(t, topic, event{"k", 1})
		for range 4 {
			if err := <-got; err != nil && !errors.Is(err, bus.ErrWouldDeadlock) {
				t.Errorf("%v", err)
			}
		}
	})
}

// An event may carry the context of one handler to another: who blocks with it is the
// handler that calls.
func TestAnothersContextIsNoDeadlock(t *testing.T) {
	type letter struct {
		ctx context.Context
		n   int
	}
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			first := newTopic(t, b, bus.TopicConfig[letter]{Name: "first"})
			second := newTopic(t, b, bus.TopicConfig[letter]{Name: "second"})
			var errs list[error]
			subscribe(t, first, "s", func(ctx context.Context, l letter) error {
				if l.n > 0 {
					errs.add(second.Publish(ctx, letter{ctx, l.n}))
					time.Sleep(time.Millisecond)
				}
				return nil
			}, bus.Mailbox(1, bus.Block))
			subscribe(t, second, "s", func(_ context.Context, l letter) error {
				errs.add(first.Publish(l.ctx, letter{})) // its mailbox is full while its handler runs
				return nil
			}, bus.Mailbox(8, bus.Block))
			for n := range 5 {
				publish(t, first, letter{n: n + 1})
			}
			shutdown(t, b)
			for _, err := range errs.get() {
				if err != nil {
					t.Errorf("%v", err)
				}
			}
		})
	}
}
